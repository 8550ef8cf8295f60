import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import type { LinkStream, OpenRequest } from '../../src/link/link.ts';
import { type Accepted, StreamRecorder } from '../link/recorder.ts';
import { makeWorld, OVER, PORT, quic, quicStreamsAlive, REQUEST, type WorldPair } from './pair.ts';

/** A stream that is open on both sides and has nothing under way after so many bytes each way. */
async function openStream(pair: WorldPair, bytes: number): Promise<{ here: StreamRecorder; there: StreamRecorder }> {
  const { world, client, server } = pair;
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  here.stream.write(new Uint8Array(bytes));
  there.stream.write(new Uint8Array(bytes));
  await world.drive(() => here.received === bytes && there.received === bytes, 'both greetings');
  await world.clock.advance(100);
  return { here, there };
}

/** What travels in SMALL frames, and what has a QUIC stream of its own. */
const SMALL_AND_LARGE = [4, 5000];

void test('an end that is said just before the other one is read arrives', async (t) => {
  for (const bytes of SMALL_AND_LARGE) {
    const pair = await makeWorld();
    const { here, there } = await openStream(pair, bytes);
    there.holding = true;
    const { calls } = there;
    here.stream.end();
    await pair.world.drive(() => there.calls > calls, 'the client’s end');
    there.stream.end();
    there.release();
    t.ok(there.ended);
    await pair.world.drive(() => here.ended, 'the server’s end');
    t.equal(here.resets.length, 0);
    pair.client.link.close(OVER);
  }
});

void test('an end arrives although its packet is lost when all else is done', async (t) => {
  for (const [loser, bytes] of [
    ['up', 4],
    ['up', 5000],
    ['down', 4],
    ['down', 5000],
  ] as const) {
    const pair = await makeWorld();
    const { world } = pair;
    const { here, there } = await openStream(pair, bytes);
    const [first, second] = loser === 'down' ? [here, there] : [there, here];
    first.stream.end();
    await world.drive(() => second.ended, 'the first end');
    await world.clock.advance(100);
    const direction = world.network[loser];
    let { sent } = direction;
    second.stream.write(Buffer.from('last words'));
    await world.drive(() => direction.sent > sent, 'the packet before');
    direction.conditions.down = true;
    sent = direction.sent;
    second.stream.end();
    await world.drive(() => direction.sent > sent, 'the packet that is lost');
    direction.conditions.down = false;
    await world.drive(() => first.ended, 'the second end');
    t.match(Buffer.from(first.bytes.slice(-10)).toString(), 'last words');
    pair.client.link.close(OVER);
  }
});

void test('the end may come with the first bytes, with none, and before there is room for the opening', async (t) => {
  const pair = await makeWorld();
  const { world, client, server } = pair;
  const served: StreamRecorder[] = [];
  for (const text of ['', 'x', 'hello']) {
    const here = new StreamRecorder(client.link.open(REQUEST));
    here.stream.write(Buffer.from(text));
    here.stream.end();
    const { recorder: there } = await world.until(server.accept());
    await world.drive(() => there.ended, 'the end');
    t.equal(there.text, text);
    served.push(there);
  }
  const filler = new StreamRecorder(client.link.open(REQUEST));
  fillWindow(filler.stream);
  const late = new StreamRecorder(client.link.open(REQUEST));
  t.equal(late.stream.write(Buffer.from('no room')), 0, 'the window is full');
  late.stream.end();
  late.stream.read(new Uint8Array(10));
  t.equal(late.resets.length, 0, 'to read a stream that is not open yet does it no harm');
  const reset = client.link.open(REQUEST);
  reset.reset('LIMIT', 'never mind');
  await world.drive(() => server.accepted.some(({ recorder }) => recorder.stream.id === late.stream.id && recorder.ended), 'it');
  t.notOk(
    server.accepted.some(({ recorder }) => recorder.stream.id === reset.id && recorder.resets.length === 0),
    'what was reset before it was opened is not there',
  );
  for (const { recorder } of server.accepted) recorder.stream.end();
  filler.stream.end();
  await world.drive(() => client.link.streams === 0 && server.link.streams === 0, 'all streams to end');
  await world.drive(() => quicStreamsAlive(pair, 40) === 0, 'quiche to forget the streams');
  client.link.close(OVER);
});

void test('a reader that reads once per call is called until the end', async (t) => {
  const pair = await makeWorld();
  const { world, client, server } = pair;
  const got: number[] = [];
  let calls = 0;
  server.onStream = (stream: LinkStream, _request: OpenRequest) => {
    const into = new Uint8Array(100);
    stream.handler = {
      onReadable: () => {
        calls++;
        got.push(stream.read(into));
      },
      onWritable() {},
      onReset() {},
    };
  };
  const stream = client.link.open(REQUEST);
  stream.write(new Uint8Array(1000));
  stream.end();
  await world.drive(() => got.includes(-1), `the end after ${calls} calls`);
  t.equal(
    got.filter((n) => n > 0).reduce((sum, n) => sum + n, 0),
    1000,
  );
  client.link.close(OVER);
});

void test('drain waits until everything written has been acknowledged', async (t) => {
  for (const who of ['client', 'server'] as const) {
    const pair = await makeWorld({ seed: 7, conditions: { delay: 2, loss: 0.1 }, link: { idleTimeout: 15_000 } });
    const { world, client, server } = pair;
    const here = new StreamRecorder(client.link.open(REQUEST));
    const { recorder: there } = await world.until(server.accept());
    const bytes = new Uint8Array(40_000).fill(1);
    void here.write(bytes).then(() => here.stream.end());
    void there.write(bytes).then(() => there.stream.end());
    pair[who].link.drain();
    await world.drive(() => client.closes.length > 0 && server.closes.length > 0, 'the link to close');
    t.strictSame([here.received, here.ended, here.resets.length], [bytes.length, true, 0]);
    t.strictSame([there.received, there.ended, there.resets.length], [bytes.length, true, 0]);
    // The other side finds out by itself when each CONNECTION_CLOSE is lost.
    t.ok([client, server].some(({ closes }) => closes[0]!.code === 'LINK_CLOSED'));
  }
});

void test('drain waits for a slow reader at the other side', async (t) => {
  const pair = await makeWorld();
  const { world, client, server } = pair;
  const here = new StreamRecorder(client.link.open(REQUEST), { holding: true });
  const { recorder: there } = await world.until(server.accept());
  here.stream.end();
  there.stream.write(new Uint8Array(5000));
  there.stream.end();
  await world.drive(() => server.link.streams === 0, 'the server’s stream to end');
  server.link.drain();
  await world.clock.advance(500);
  here.release();
  await world.drive(() => client.closes.length > 0 && server.closes.length > 0, 'the link to close');
  t.strictSame([here.received, here.ended, here.resets.length], [5000, true, 0]);
});

void test('drain waits for a slow reader of what was opened before the other side heard of it', async (t) => {
  for (const who of ['client', 'server'] as const) {
    const pair = await makeWorld();
    const { world, client, server } = pair;
    const [drains, opens] = who === 'client' ? [client, server] : [server, client];
    drains.options = { holding: true };
    drains.link.drain();
    const here = new StreamRecorder(opens.link.open(REQUEST));
    here.stream.write(new Uint8Array(5000));
    here.stream.end();
    const { recorder: there } = await world.until(drains.accept());
    there.stream.end();
    await world.drive(() => opens.link.streams === 0, 'the stream to end where it was opened');
    await world.clock.advance(500);
    there.release();
    await world.drive(() => client.closes.length > 0 && server.closes.length > 0, 'the link to close');
    t.strictSame([there.received, there.ended, there.resets.length], [5000, true, 0], who);
  }
});

void test('when a server’s last words and its not knowing the link come at once, the words count', async (t) => {
  const { world, client, server } = await makeWorld();
  await world.clock.advance(100);
  let words = new Uint8Array(0);
  world.network.onSend = (bytes, { isClient }) => {
    if (!isClient) words = Uint8Array.from(bytes);
  };
  world.network.loses = (_, { isClient }) => !isClient;
  server.link.close(new QtunnelError('SHUTTING_DOWN', 'Enough.'));
  const { connection } = quic(client);
  const { handler } = world.network.clients[0]!;
  for (const datagram of [words, Uint8Array.of(...new Uint8Array(30).fill(0x41), ...connection.resetToken!)])
    handler.onDatagram(datagram, 0, datagram.length, { host: '127.0.0.1', port: PORT });
  t.strictSame(
    client.closes.map(({ code }) => code),
    ['SHUTTING_DOWN'],
  );
});

void test('a link that its handler closes announces no more streams', async (t) => {
  const { world, client, server } = await makeWorld();
  const announced: Accepted[] = [];
  server.onStream = (stream, request) => {
    announced.push({ recorder: new StreamRecorder(stream), request });
    server.link.close(new QtunnelError('SHUTTING_DOWN', 'Enough.'));
  };
  for (let n = 0; n < 3; n++) client.link.open(REQUEST);
  await world.drive(() => client.closes.length > 0, 'the end');
  t.equal(announced.length, 1);
  t.equal(server.link.streams, 0);
  t.equal(announced[0]!.recorder.resets[0]?.reason, 'SHUTDOWN');
});

void test('a handler that opens another stream when its own is reset cannot do so on a link that ends', async (t) => {
  const { world, client, server } = await makeWorld();
  let attempts = 0;
  const open = (): void => {
    if (attempts++ === 10) return;
    client.link.open(REQUEST).handler = {
      onReadable() {},
      onWritable() {},
      onReset: () => t.throws(open, { code: 'LINK_CLOSED' }),
    };
  };
  open();
  client.link.close(OVER);
  t.equal(attempts, 2);
  await world.drive(() => server.closes.length > 0, 'the end');
});

/** Writes until no room is left in the congestion window. */
function fillWindow(stream: LinkStream): void {
  const chunk = new Uint8Array(65_536);
  while (stream.write(chunk) > 0);
}

void test('CONNECTION_CLOSE is said again to a peer that missed it', async (t) => {
  for (const [who, missing] of [
    ['client', 'up'],
    ['server', 'down'],
  ] as const) {
    const { world, client, server } = await makeWorld();
    const here = new StreamRecorder(client.link.open(REQUEST));
    const { recorder: there } = await world.until(server.accept());
    const direction = world.network[missing];
    direction.conditions.down = true;
    ({ client, server })[who].link.close(OVER);
    direction.conditions.down = false;
    (who === 'client' ? there : here).stream.write(Buffer.from('are you there?'));
    const other = who === 'client' ? server : client;
    await world.clock.advance(20);
    t.equal(other.closes[0]?.code, 'LINK_CLOSED', who);
  }
});

void test('a peer that missed CONNECTION_CLOSE and says nothing hears it once more', async (t) => {
  for (const who of ['client', 'server'] as const) {
    const { world, client, server } = await makeWorld();
    await world.clock.advance(100);
    let lost = 0;
    world.network.loses = () => lost++ === 0;
    const [here, there] = who === 'client' ? [client, server] : [server, client];
    here.link.close(new QtunnelError('SHUTTING_DOWN', 'Enough.'));
    world.network.loses = () => false;
    t.equal(lost, 1);
    await world.drive(() => there.closes.length > 0, 'the end');
    t.equal(there.closes[0]?.code, 'SHUTTING_DOWN', who);
  }
});

void test('a link that was drained has not failed when the word of its end was lost and the server has forgotten it', async (t) => {
  const { world, client, server } = await makeWorld({ link: { serverOpens: false } });
  await world.clock.advance(100);
  world.network.loses = (_, { isClient }) => !isClient;
  client.link.drain();
  await world.drive(() => server.closes.length > 0, 'the server to close the link');
  await world.clock.advance(2_000);
  world.network.loses = () => false;
  await world.drive(() => client.closes.length > 0, 'the client to hear of it');
  t.strictSame([server.closes[0]?.code, client.closes[0]?.code], ['LINK_CLOSED', 'LINK_CLOSED']);
});
