import { test } from 'tap';
import { StreamRecorder } from '../link/recorder.ts';
import { makeWorld, PORT, REQUEST, type WorldPair } from './pair.ts';

const KEEPALIVE = 1_000;
const IDLE = 4_000;

/** Milliseconds for which one side hears nothing, and how long it is held up at the end of them. */
const SILENCE = 3_500;
const HELD_UP = 2_000;

for (const side of ['client', 'server'] as const) {
  test(`a ${side} that was held up beyond the idle timeout reads what waits in its socket before it judges`, async (t) => {
    const pair = await makeWorld({ link: { keepalive: KEEPALIVE, idleTimeout: IDLE } });
    const deliver = await holdUp(pair, side);
    // Behind the timers that are due by then, as in a process's event loop.
    pair.world.clock.deliverAfter(0, deliver);
    await pair.world.clock.advance(2 * KEEPALIVE);
    t.same([...pair.client.closes, ...pair.server.closes], []);
    const stream = new StreamRecorder(pair.client.link.open(REQUEST));
    stream.stream.write(Buffer.from('still here'));
    await pair.world.drive(() => pair.server.accepted[0]?.recorder.text === 'still here', 'a stream');
  });

  test(`a ${side} that was held up and finds nothing in its socket gives its peer up`, async (t) => {
    const pair = await makeWorld({ link: { keepalive: KEEPALIVE, idleTimeout: IDLE } });
    await holdUp(pair, side);
    await pair.world.clock.advance(2 * KEEPALIVE);
    const { closes } = side === 'client' ? pair.client : pair.server;
    t.match(closes, [{ code: 'LINK_LOST', message: /idle timeout/ }]);
  });
}

/** What is sent to one side waits, and in the end time passes for that side all at once. Returns what lets it read. */
async function holdUp({ world }: WorldPair, side: 'client' | 'server'): Promise<() => void> {
  const { network, clock } = world;
  const [client] = network.clients;
  const server = network.server(PORT)!;
  const [own, peer] = side === 'client' ? [client!, server] : [server, client!];
  const waiting: Uint8Array[] = [];
  network.loses = (bytes, { isClient }) => {
    const isForOwn = isClient === (side === 'server');
    if (isForOwn) waiting.push(Uint8Array.from(bytes));
    return isForOwn;
  };
  await clock.advance(SILENCE);
  clock.moveTo(clock.now() + HELD_UP);
  return () => {
    network.loses = () => false;
    for (const datagram of waiting) own.deliver(datagram, { host: peer.address.host, port: peer.outerPort });
  };
}
