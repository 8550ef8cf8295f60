import { test } from 'tap';
import { StreamRecorder } from '../link/recorder.ts';
import type { MemorySocket } from '../support/memory-network.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { makeWorld, OVER, REQUEST, type WorldPair } from './pair.ts';

const MIB = 1024 * 1024;

interface Moving extends WorldPair {
  readonly here: StreamRecorder;
  readonly there: StreamRecorder;
}

/** A link with a stream. */
async function moving(): Promise<Moving> {
  const pair = await makeWorld({ conditions: { delay: 5 } });
  const here = new StreamRecorder(pair.client.link.open(REQUEST));
  const { recorder: there } = await pair.world.until(pair.server.accept());
  return { ...pair, here, there };
}

/** Sends `bytes` both ways, and calls `disturb` at each tenth of them; whether all arrived. */
async function exchange({ world, here, there }: Moving, length: number, disturb: (n: number) => void): Promise<boolean> {
  const [up, down] = [randomBytes(seededRandom(1), length), randomBytes(seededRandom(2), length)];
  void here.write(up).then(() => here.stream.end());
  void there.write(down).then(() => there.stream.end());
  let disturbed = 0;
  const done = (): boolean => {
    while (there.received > ((disturbed + 1) * length) / 11 && disturbed < 10) disturb(++disturbed);
    return here.ended && there.ended;
  };
  await world.drive(done, 'both transfers');
  return there.bytes.equals(up) && here.bytes.equals(down);
}

const present = ({ world }: Moving): MemorySocket => world.network.clients.at(-1)!;
const openSockets = ({ world }: Moving): number => world.network.clients.filter(({ closed }) => !closed).length;

void test(
  'the way dies in silence in the midst of a transfer, twice: it goes on from another socket',
  { timeout: 120_000 },
  async (t) => {
    const pair = await moving();
    const { client, server } = pair;
    const whole = await exchange(pair, 3 * MIB, (n) => {
      if (n === 3 || n === 7) present(pair).fate = 'silent';
    });
    t.ok(whole, 'every byte is there');
    t.equal(client.moves.length, 2);
    t.strictSame(client.states, ['stalled', 'up', 'stalled', 'up']);
    t.equal(server.link.peer, `127.0.0.1:${present(pair).outerPort}`);
    t.equal(openSockets(pair), 1, 'the old sockets are closed');
    client.link.close(OVER);
    await pair.world.drive(() => openSockets(pair) === 0, 'the socket to be closed');
  },
);

void test('the system refuses to send: the link goes on from another socket before anybody misses it', async (t) => {
  const pair = await moving();
  const whole = await exchange(pair, 5 * MIB, (n) => {
    if (n === 5) present(pair).fate = 'refused';
  });
  t.ok(whole);
  t.equal(pair.client.moves.length, 1);
  t.strictSame(pair.client.states, []);
  pair.client.link.close(OVER);
});

void test('no descriptor for another socket when the machine gets another address: the link stays, and follows when there is one', async (t) => {
  const pair = await moving();
  const { client, world } = pair;
  world.network.isOutOfSockets = true;
  world.changeAddress('127.0.0.2');
  await world.clock.advance(5_000);
  t.strictSame(client.moves, []);
  world.network.isOutOfSockets = false;
  await world.drive(() => client.moves.length > 0, 'the move');
  t.match(client.moves[0], /^127\.0\.0\.2:/);
  t.ok(await exchange(pair, MIB, () => {}));
  t.strictSame(client.states, []);
  client.link.close(OVER);
});

void test('the machine gets another address, ten times: the link follows, and what was under way to the old one still counts', async (t) => {
  const pair = await moving();
  const whole = await exchange(pair, 10 * MIB, (n) => {
    pair.world.changeAddress(`127.0.0.${1 + n}`);
  });
  t.ok(whole);
  t.strictSame(
    pair.client.moves.map((local) => local.split(':')[0]),
    Array.from({ length: 10 }, (_, n) => `127.0.0.${2 + n}`),
  );
  t.strictSame(pair.client.states, []);
  pair.client.link.close(OVER);
});

void test('100 moves in a row lose nothing', { timeout: 120_000 }, async (t) => {
  const pair = await moving();
  const { world, client, here, there } = pair;
  for (let n = 1; n <= 100; n++) {
    world.changeAddress(`127.0.1.${n}`);
    here.stream.write(Buffer.from([n]));
    await world.drive(() => there.received === n, `byte ${n}`);
  }
  t.equal(client.moves.length, 100);
  t.strictSame(
    [...there.bytes],
    [...Array(100).keys()].map((n) => n + 1),
  );
  t.strictSame([client.states, pair.server.states], [[], []]);
  client.link.close(OVER);
});

void test('a change of addresses that does not concern the way to the server moves nothing', async (t) => {
  const pair = await moving();
  pair.world.changeAddress('127.0.0.1');
  await pair.world.clock.advance(100);
  t.strictSame(pair.client.moves, []);
  t.equal(openSockets(pair), 1);
  pair.client.link.close(OVER);
});

void test('while there is no way at all the search goes on, and ends with the link', { timeout: 120_000 }, async (t) => {
  const pair = await moving();
  const { world, client } = pair;
  world.network.set({ down: true });
  pair.here.stream.write(Buffer.from('lost'));
  await world.clock.advance(10_000);
  t.ok(client.moves.length >= 2, `${client.moves.length} moves`);
  t.ok(openSockets(pair) <= 2);
  await world.clock.advance(25_000);
  t.equal(client.closes[0]?.code, 'LINK_LOST');
  t.equal(openSockets(pair), 0);
});
