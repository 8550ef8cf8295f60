import { createHash, randomBytes } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { type Test, test } from 'tap';
import type { Link, LinkStream } from '../../src/link/link.ts';
import { FRAME, frame } from '../../src/protocol/frames.ts';
import {
  encodeAttach,
  encodeFin,
  encodeOpen,
  encodeReset,
  SMALL_HEADER,
  type Welcome,
  writeSmall,
} from '../../src/protocol/messages.ts';
import type { TlsConnection } from '../../src/tls/connection.ts';
import { dial } from '../../src/tls/dial.ts';
import { joinNonce } from '../../src/tls/join.ts';
import { TlsLink } from '../../src/tls/link.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { eventually, withDeadline } from '../support/deadline.ts';
import { integerBetween, seededRandom } from '../support/random.ts';
import { linkOptions, listenHere, nextLink } from './pair.ts';
import { type Relay, relayedPair } from './relay.ts';

const WINDOW = 65_536;
const TAG = '0000000000000001';

void test('streams that say little need no connection of their own', async (t) => {
  const { client, server, relay } = await ready(t);
  const streams = Array.from({ length: 200 }, () => open(client.link));
  for (const [n, { stream }] of streams.entries()) stream.write(Buffer.from(`question ${n}`));
  for (const n of streams.keys()) {
    const { recorder } = await server.accept();
    await recorder.until('the question', () => recorder.text === `question ${n}`);
    await recorder.write(Buffer.alloc(10_000, n));
    recorder.stream.end();
  }
  for (const [n, recorder] of streams.entries()) {
    await recorder.end();
    if (!recorder.bytes.equals(Buffer.alloc(10_000, n))) t.fail('another answer');
    recorder.stream.end();
  }
  await eventually('the server to be through', () => server.link.streams === 0);
  t.equal(relay.connections.length, 3, 'control and two that wait');
  t.equal(idle(server), 2);
});

for (const [opens, direction] of [
  ['client', 'up'],
  ['client', 'down'],
  ['server', 'up'],
  ['server', 'down'],
] as const) {
  test(`a stream of the ${opens}’s that outgrows its lane goes on over a connection of its own, ${direction}, and gives it back`, async (t) => {
    const { client, server } = await ready(t);
    const [opener, taker] = opens === 'client' ? [client, server] : [server, client];
    for (const length of [WINDOW - 1, WINDOW, WINDOW + 1, 300_000]) {
      const here = open(opener.link);
      here.stream.write(Buffer.from('begin'));
      const { recorder: there } = await taker.accept();
      const [from, to] = (direction === 'up') === (opens === 'client') ? [here, there] : [there, here];
      const bytes = randomBytes(length);
      // In pieces that do not show at once how much there will be.
      for (let at = 0; at < length; at += 5000) await from.write(bytes.subarray(at, at + 5000));
      from.stream.end();
      await to.end();
      t.ok(to.bytes.subarray(to === there ? 5 : 0).equals(bytes), `${length} bytes`);
      to.stream.end();
      await from.end();
      await eventually('its connection to be back', () => idle(server) === connections(server) - 1);
      t.ok(from.stream.id % 2 === (opens === 'client' ? 0 : 1));
    }
  });
}

void test('a large write does not go through the lane', async (t) => {
  const { client, server, relay } = await ready(t);
  const here = open(client.link);
  const before = relay.connections[0]!.client.bytesRead;
  await here.write(randomBytes(1_000_000));
  const { recorder: there } = await server.accept();
  await there.until('all', () => there.received === 1_000_000);
  t.ok(relay.connections[0]!.client.bytesRead - before < 20_000);
});

void test('nothing is lost or out of order when a connection is ahead of the control connection', async (t) => {
  const { client, server, relay } = await ready(t);
  relay.connections[0]!.client.pause();
  const here = open(client.link);
  const bytes = randomBytes(200_000);
  here.stream.write(bytes.subarray(0, 3000));
  await here.write(bytes.subarray(3000));
  here.stream.end();
  await eventually('the connection to be taken', () => server.link.streams === 1);
  t.strictSame(server.accepted, []);
  relay.connections[0]!.client.resume();
  const { recorder: there } = await server.accept();
  await there.end();
  t.ok(there.bytes.equals(bytes));
  there.stream.end();
  await here.end();
});

for (const [what, answers] of [
  ['answers', (stream: LinkStream) => void stream.write(Buffer.from('at once'))],
  ['resets', (stream: LinkStream) => stream.reset('NO_BACKEND', 'at once')],
] as const) {
  void test(`a side that ${what} while it is told of a stream whose connection is ahead is heard`, async (t) => {
    const { client, server, relay } = await ready(t);
    relay.connections[0]!.client.pause();
    const here = open(client.link);
    await here.write(randomBytes(100_000));
    await eventually('the connection to be taken', () => server.link.streams === 1);
    const { onStream } = server;
    server.onStream = (stream, request) => {
      onStream.call(server, stream, request);
      answers(stream);
    };
    relay.connections[0]!.client.resume();
    await here.until('the answer', () => here.received > 0 || here.resets.length > 0);
    t.strictSame(
      [here.text, here.resets],
      what === 'resets' ? ['', [{ reason: 'NO_BACKEND', message: 'at once' }]] : ['at once', []],
    );
    t.equal(client.link.state, 'up');
  });
}

void test('a stream that was reset before it is known there is not kept', async (t) => {
  const { client, server, relay } = await ready(t);
  relay.connections[0]!.client.pause();
  const here = open(client.link);
  await here.write(randomBytes(100_000));
  await eventually('the connection to be taken', () => server.link.streams === 1);
  here.stream.reset('RESET', 'before anybody knew');
  await eventually('it to be gone', () => server.link.streams === 0);
  relay.connections[0]!.client.resume();
  const { recorder } = await server.accept();
  t.equal((await recorder.reset()).message, 'before anybody knew');
  t.equal(server.link.streams, 0);
  t.equal(client.link.state, 'up');
});

void test('a connection that comes when its stream is over is used again', async (t) => {
  const { client, server, relay } = await ready(t);
  const here = open(client.link);
  here.stream.end(); // the client says no more, so the stream can be over without its connection
  const { recorder: there } = await server.accept();
  await there.end();
  for (const { client: end } of relay.connections.slice(1)) end.pause();
  const bytes = randomBytes(40_000);
  await there.write(bytes);
  there.stream.end();
  await here.end();
  t.ok(here.bytes.equals(bytes));
  await eventually('both to be through', () => client.link.streams + server.link.streams === 0);
  for (const { client: end } of relay.connections.slice(1)) end.resume();
  await eventually('all to be back', () => warm(client) === connections(client) - 1 && idle(server) === connections(server) - 1);
  t.notOk(relay.connections.some(({ client: end }) => end.closed));
  t.equal(client.link.state, 'up');
});

for (const opens of ['client', 'server'] as const) {
  void test(`a connection that is free before all of the ${opens}’s stream has come by its lane is given back, and nothing is lost`, async (t) => {
    const { client, server, relay } = await ready(t);
    const [opener, taker] = opens === 'client' ? [client, server] : [server, client];
    const opened = open(opener.link);
    await opened.write(Buffer.from('x'));
    const { recorder: taken } = await taker.accept();
    await taken.until('the beginning', () => taken.text === 'x');
    const [atClient, atServer] = opens === 'client' ? [opened, taken] : [taken, opened];
    const [up, down] = [randomBytes(300_000), randomBytes(3000)];
    // What the server says by the lane is overtaken by what it says on the connection.
    relay.connections[0]!.server.pause();
    await atServer.write(down);
    atServer.stream.end();
    await atClient.write(up);
    atClient.stream.end();
    await atServer.until('all', () => atServer.ended);
    await eventually('the server to be ready for another stream', () => idle(server) === connections(server) - 1);
    await eventually('the client to have it back', () => warm(client) === connections(client) - 1);
    t.equal(client.link.streams, 1);
    relay.connections[0]!.server.resume();
    await atClient.end();
    t.ok(atClient.bytes.subarray(opens === 'client' ? 0 : 1).equals(down));
    t.ok(atServer.bytes.subarray(opens === 'client' ? 1 : 0).equals(up));
    await eventually('both to be through', () => client.link.streams + server.link.streams === 0);
  });
}

void test('a stream goes on in its lane when there is no connection to be had', async (t) => {
  const { client, server, relay } = await ready(t);
  relay.refuse();
  for (const { client: end } of relay.connections.slice(1)) end.destroy();
  await eventually('them to be gone', () => connections(client) === 1 && connections(server) === 1);
  const here = open(client.link);
  const [up, down] = [randomBytes(1_000_000), randomBytes(1_000_000)];
  const sent = here.write(up).then(() => here.stream.end());
  const { recorder: there } = await server.accept();
  const answered = there.write(down).then(() => there.stream.end());
  await Promise.all([sent, answered, here.end(), there.end()]);
  t.ok(there.bytes.equals(up) && here.bytes.equals(down));
});

void test('a stream whose connection is dropped on the way goes on in its lane meanwhile, and over the connection when it comes', async (t) => {
  const { client, server, relay } = await ready(t);
  const held = relay.holdBack();
  for (const { client: end } of relay.connections.slice(1)) end.destroy();
  await eventually('them to be gone', () => connections(client) === 1 && connections(server) === 1);
  const here = open(client.link);
  const [up, down] = [randomBytes(300_000), randomBytes(300_000)];
  const sent = here.write(up);
  const { recorder: there } = await server.accept();
  await Promise.all([sent, there.write(down)]);
  await there.until('all', () => there.received === up.length);
  await here.until('all', () => here.received === down.length);
  t.strictSame([held.length > 0, client.link.descriptorsDue], [true, 1], 'while the connection is still awaited');

  relay.letPass();
  await eventually('the connections to be there', () => connections(server) > 1);
  const more = randomBytes(1_000_000);
  const before = relay.connections[0]!.client.bytesRead;
  await here.write(more);
  here.stream.end();
  await there.end();
  t.ok(there.bytes.equals(Buffer.concat([up, more])) && here.bytes.equals(down));
  t.ok(relay.connections[0]!.client.bytesRead - before < more.length / 2, 'not in the lane');
  there.stream.end();
  await here.end();
});

void test('a lane that nobody reads takes no more than its window', async (t) => {
  const { client, server } = await ready(t);
  server.options = { holding: true };
  const here = open(client.link);
  const fill = (): number => {
    let taken = 0;
    for (let n = 0; n < 200; n++) taken += here.stream.write(new Uint8Array(1000));
    return taken;
  };
  t.equal(fill(), WINDOW);
  const { recorder: there } = await server.accept();
  t.equal(fill(), 0);
  there.release();
  await eventually('room', () => fill() > 0);
  await there.until('more than a window', () => there.received > WINDOW);
});

void test('a reset reaches a stream whose connection is under way', async (t) => {
  const { client, server, relay } = await ready(t);
  const here = open(client.link);
  here.stream.write(Buffer.from('x'));
  const { recorder: there } = await server.accept();
  for (const { client: end } of relay.connections.slice(1)) end.pause();
  await here.write(randomBytes(100_000));
  there.stream.reset('DIAL_REFUSED', 'nobody');
  t.same(await here.reset(), { reason: 'DIAL_REFUSED', message: 'nobody' });
  for (const { client: end } of relay.connections.slice(1)) end.resume();
  const next = open(client.link);
  next.stream.end();
  await (await server.accept()).recorder.end();
  t.strictSame([client.link.state, server.link.state], ['up', 'up']);
});

void test('without its control connection a link drains: what is in a lane is reset, what has a connection goes on', async (t) => {
  const { client, server, relay } = await ready(t);
  const [little, large] = [open(client.link), open(client.link)];
  little.stream.write(Buffer.from('little'));
  await large.write(randomBytes(100_000));
  const [littleThere, largeThere] = [(await server.accept()).recorder, (await server.accept()).recorder];
  await largeThere.until('all', () => largeThere.received === 100_000);
  await largeThere.write(Buffer.from('known there'));
  await large.until('that', () => large.received > 0);
  relay.connections[0]!.client.resetAndDestroy();
  t.equal((await little.reset()).reason, 'LINK_LOST');
  t.equal((await littleThere.reset()).reason, 'LINK_LOST');
  await large.write(randomBytes(100_000));
  large.stream.end();
  await largeThere.end();
  t.equal(largeThere.received, 200_000);
  largeThere.stream.end();
  await large.end();
  await Promise.all([client.closed(), server.closed()]);
});

void test('what was said before the link drained is all there, however late it is read', async (t) => {
  const { client, server } = await ready(t);
  server.options = { holding: true };
  const here = open(client.link);
  const bytes = randomBytes(20_000);
  await here.write(bytes.subarray(0, 10_000));
  await here.write(bytes.subarray(10_000));
  here.stream.end();
  const { recorder: there } = await server.accept();
  there.stream.end();
  await here.end();
  client.link.drain();
  await client.closed();
  await server.until('the server to drain', () => server.link.state === 'draining');
  there.release();
  await there.end();
  t.ok(there.bytes.equals(bytes));
});

void test('a link that drains waits until the other side has taken what its streams said last', async (t) => {
  const { client, server, relay } = await ready(t);
  const streams = Array.from({ length: 200 }, () => open(client.link));
  for (const { stream } of streams) stream.write(Buffer.from('x'));
  for (const recorder of streams) {
    (await server.accept()).recorder.stream.end();
    await recorder.end();
  }
  const [{ client: way }] = relay.connections as [Relay['connections'][number]];
  way.pause();
  // As much as there is room for on the way, and then what waits for it in this process.
  let taken = 0;
  for (const { stream } of streams) {
    if (stream.write(Buffer.alloc(16_000, 'y')) < 16_000) stream.reset('RESET', 'no room');
    else taken++;
    stream.end();
  }
  t.ok(taken > 0 && taken < streams.length, `${taken} of ${streams.length}`);
  client.link.drain();
  t.equal(client.link.state, 'draining');
  t.equal(client.link.streams, 0);
  way.resume();
  await Promise.all([client.closed(), server.closed()]);
  const whole = server.accepted.filter(({ recorder }) => recorder.ended && recorder.received === 16_001);
  t.equal(whole.length, taken);
});

void test('a reader that does not read holds up nobody else, and a lane’s worth is all that waits', async (t) => {
  const { client, server } = await ready(t);
  server.options = { holding: true };
  const slow = Array.from({ length: 50 }, () => open(client.link));
  await Promise.all(slow.map((recorder) => sendSmall(recorder, 8)));
  await eventually('them to be known', () => server.accepted.length === 50);
  server.options = {};
  const quick = open(client.link);
  quick.stream.write(Buffer.from('quick'));
  await eventually('its bytes', () => server.accepted[50]?.recorder.text === 'quick');
  for (const { recorder } of server.accepted) recorder.release();
  await eventually('the others’', () => server.accepted.slice(0, 50).every(({ recorder }) => recorder.received === 32_000));
  t.strictSame(
    server.accepted.flatMap(({ recorder }) => recorder.resets),
    [],
  );
});

for (const seed of [1, 2, 3, 4]) {
  test(`streams of all shapes at once lose nothing and leave nothing (seed ${seed})`, async (t) => {
    const random = seededRandom(seed);
    const { client, server } = await ready(t);
    const talks = Array.from({ length: 120 }, async () => {
      const up = size(random);
      const down = size(random);
      const shape = random();
      const [opener, taker] = random() < 0.5 ? [client, server] : [server, client];
      const here = open(opener.link);
      await pause(random);
      const mark = randomBytes(8);
      await here.write(mark);
      await eventually('the other end', () => taker.accepted.some(({ recorder }) => recorder.bytes.subarray(0, 8).equals(mark)));
      const there = taker.accepted.find(({ recorder }) => recorder.bytes.subarray(0, 8).equals(mark))!.recorder;
      if (shape < 0.2) {
        await pause(random);
        (shape < 0.1 ? here : there).stream.reset('RESET');
        await (shape < 0.1 ? there : here).reset();
        return true;
      }
      const both = [send(random, here, up), send(random, there, down)];
      const [sentUp, sentDown] = shape < 0.6 ? await Promise.all(both) : [await both[0]!, await both[1]!];
      await Promise.all([here.end(), there.end()]);
      return hash(there.bytes.subarray(8)) === sentUp && hash(here.bytes) === sentDown;
    });
    t.ok((await Promise.all(talks)).every(Boolean));
    await eventually('both to be through', () => client.link.streams + server.link.streams === 0);
    await eventually('connections to be back', () => idle(server) === connections(server) - 1);
    t.strictSame([client.link.state, server.link.state], ['up', 'up']);
  });
}

void test('what does not belong on the control connection ends it', async (t) => {
  const wrong: [string, Uint8Array][] = [
    ['SMALL on a stream that was not opened', small(1, 'x')],
    ['FIN on one', encodeFin(1)],
    ['RESET of one', encodeReset(1, 'RESET', '')],
    ['OPEN twice', Buffer.concat([opening(1), opening(1)])],
    ['OPEN of an earlier one', Buffer.concat([opening(2), opening(1)])],
    ['SMALL after FIN', Buffer.concat([opening(1), encodeFin(1), small(1, 'x')])],
    ['a second FIN', Buffer.concat([opening(1), encodeFin(1), encodeFin(1)])],
    ['more than was granted', Buffer.concat([opening(1), ...Array.from({ length: 17 }, () => small(1, 'x'.repeat(4000)))])],
    ['ATTACH', Buffer.concat([opening(1), encodeAttach(1, 0, false)])],
    ['READY', frame(FRAME.READY, new Uint8Array(0))],
    ['DATA', frame(FRAME.DATA, Buffer.from('x'))],
  ];
  for (const [name, bytes] of wrong) {
    const { server, control } = await rawClient(t);
    control.send(bytes);
    t.equal((await server.closed()).code, 'PROTOCOL_VIOLATION', name);
    t.equal(server.link.streams, 0);
  }
});

void test('what does not belong on a stream’s own connection resets it, or ends the connection', async (t) => {
  const { server, control, join } = await rawClient(t);
  let id = 0;
  const wrong: [string, (id: number) => Uint8Array][] = [
    ['ATTACH before what has come', (n) => encodeAttach(n, 2, false)],
    ['ATTACH beyond what was granted', (n) => encodeAttach(n, WINDOW + 1, false)],
    ['ATTACH twice', (n) => Buffer.concat([encodeAttach(n, 3, false), encodeAttach(n, 3, false)])],
    ['READY', (n) => Buffer.concat([encodeAttach(n, 3, false), frame(FRAME.READY, new Uint8Array(0))])],
    ['DATA after its end', (n) => Buffer.concat([encodeAttach(n, 3, true), frame(FRAME.DATA, Buffer.from('x'))])],
  ];
  for (const [name, bytes] of wrong) {
    control.send(opening(++id));
    control.send(small(id, 'abc'));
    const { recorder } = await server.accept();
    await recorder.until('its bytes', () => recorder.received === 3);
    const connection = await join();
    const ended = new Promise<void>((resolve) => (connection.handler = { ...NOBODY, onLost: () => resolve() }));
    connection.send(bytes(id));
    await withDeadline(ended, () => `the end of the connection: ${name}`);
    if (recorder.resets.length === 0) control.send(encodeReset(id, 'RESET', ''));
    await recorder.reset();
    t.equal(server.link.state, 'up', name);
  }
  t.equal(server.link.streams, 0);
  // A lane that a connection has taken over ends where it said.
  control.send(opening(++id));
  const connection = await join();
  connection.send(encodeAttach(id, 2, false));
  await eventually('it to be taken', () => idle(server) === 0);
  control.send(small(id, 'abc'));
  t.equal((await server.closed()).code, 'PROTOCOL_VIOLATION');
});

void test('a wrong ATTACH that is ahead of its OPEN leaves nothing, and the stream is opened as any other', async (t) => {
  const { server, control, join } = await rawClient(t, 10);
  for (let n = 0; n < 20; n++) {
    const connection = await join();
    const ended = new Promise<void>((resolve) => (connection.handler = { ...NOBODY, onLost: () => resolve() }));
    connection.send(encodeAttach(1, WINDOW + 1, false));
    await withDeadline(ended, () => 'the end of the connection');
  }
  t.equal(server.link.streams, 0);
  control.send(Buffer.concat([opening(1), small(1, 'abc')]));
  const { recorder } = await server.accept();
  await recorder.until('its bytes', () => recorder.text === 'abc');
  t.equal(server.link.state, 'up');
});

void test('a client that asks for one stream again and again and does not listen loses the connection', async (t) => {
  const { server, control, join } = await rawClient(t);
  control.send(Buffer.concat([opening(1), encodeFin(1)]));
  const { recorder } = await server.accept();
  await recorder.end();
  recorder.stream.end();
  await eventually('it to be over', () => server.link.streams === 0);
  const connection = await join();
  const before = connections(server);
  connection.pause();
  const attach = Buffer.concat(Array.from({ length: 10_000 }, () => encodeAttach(1, 0, true)));
  await eventually('the end of the connection', () => {
    if (connection.queued < 1_000_000) connection.send(attach);
    return connections(server) < before;
  });
  t.equal(server.link.state, 'up');
});

void test('connections that are ahead of streams that never come are bounded', async (t) => {
  const { server, control, join } = await rawClient(t, 10);
  const further = await Promise.all(Array.from({ length: 20 }, () => join()));
  const refused = further.map(
    (connection) => new Promise<void>((resolve) => (connection.handler = { ...NOBODY, onLost: () => resolve() })),
  );
  for (const [n, connection] of further.entries()) connection.send(encodeAttach(1000 + n, 0, false));
  await Promise.all(refused.slice(10));
  t.equal(server.link.streams, 10);
  control.destroy();
  await server.closed();
  t.equal(server.link.streams, 0);
});

void test('a client neither opens nor attaches what is the server’s to open', async (t) => {
  const { server, control, join } = await rawClient(t, 1024, true);
  const connection = await join();
  const ended = new Promise<void>((resolve) => (connection.handler = { ...NOBODY, onLost: () => resolve() }));
  connection.send(encodeAttach(1, 0, false));
  await withDeadline(ended, () => 'the end of the connection');
  t.strictSame([server.link.state, server.link.streams], ['up', 0]);
  control.send(opening(1));
  t.equal((await server.closed()).code, 'PROTOCOL_VIOLATION');
});

async function ready(t: Test): Promise<{ client: LinkRecorder; server: LinkRecorder; relay: Relay }> {
  const pair = await relayedPair(t);
  await eventually('two connections to be ready', () => idle(pair.server) === 2);
  return pair;
}

/** A client that sends what it is told to: its control connection, and further ones that wait for ATTACH. */
async function rawClient(t: Test, maxStreams = 1024, serverOpens = false) {
  const listener = await listenHere(linkOptions({ maxStreams, serverOpens }));
  t.teardown(() => listener.close());
  const accepted = nextLink(listener);
  const id = randomBytes(8).toString('hex');
  const { connection: control, welcome } = await dialHere(listener.address.port, id, randomBytes(16), serverOpens);
  const server = new LinkRecorder(await accepted);
  const join = async (): Promise<TlsConnection> => {
    const nonce = joinNonce(linkOptions().auth.hmac, welcome.resetToken, randomBytes(16));
    const { connection } = await dialHere(listener.address.port, id, nonce);
    t.teardown(() => connection.destroy());
    return connection;
  };
  t.teardown(() => control.destroy());
  return { server, control, join };
}

function dialHere(
  port: number,
  linkId: string,
  nonce: Uint8Array,
  serverOpens = false,
): Promise<{ connection: TlsConnection; welcome: Welcome }> {
  const target = { host: '127.0.0.1', port, serverName: 'localhost' };
  const secureContext = createSecureContext({ minVersion: 'TLSv1.3' });
  const options = { target, options: linkOptions({ serverOpens }), checkServer: () => {}, secureContext, linkId };
  return dial(options, nonce, new AbortController().signal, (connection, welcome) => {
    connection.handler = NOBODY;
    return { connection, welcome };
  });
}

function open(link: Link): StreamRecorder {
  return new StreamRecorder(link.open({ tag: TAG, target: '' }));
}

function opening(id: number): Uint8Array {
  return encodeOpen(id, TAG, '');
}

function small(id: number, text: string): Uint8Array {
  const bytes = new Uint8Array(SMALL_HEADER + text.length);
  return bytes.subarray(0, writeSmall(bytes, 0, id, Buffer.from(text)));
}

/** Writes `length` bytes in pieces of all sizes, ends the stream and returns their hash. */
async function send(random: () => number, recorder: StreamRecorder, length: number): Promise<string> {
  const bytes = randomBytes(length);
  for (let at = 0; at < length;) {
    const end = Math.min(length, at + size(random) + 1);
    await recorder.write(bytes.subarray(at, end));
    at = end;
    if (random() < 0.1) await pause(random);
  }
  recorder.stream.end();
  return hash(bytes);
}

/** Mostly small, sometimes large. */
function size(random: () => number): number {
  return integerBetween(random, 0, [10, 1000, 20_000, 70_000, 200_000][integerBetween(random, 0, 4)]!);
}

async function pause(random: () => number): Promise<void> {
  for (let turns = integerBetween(random, 0, 5); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function sendSmall(recorder: StreamRecorder, times: number): Promise<void> {
  for (let n = 0; n < times; n++) await recorder.write(new Uint8Array(4000));
}

function idle({ link }: LinkRecorder): number {
  return link instanceof TlsLink ? link.idle : 0;
}

function warm({ link }: LinkRecorder): number {
  return link instanceof TlsLink ? link.warm : 0;
}

function connections({ link }: LinkRecorder): number {
  return link instanceof TlsLink ? link.connections : 0;
}

const NOBODY = { onFrame() {}, onData() {}, onDrain() {}, onLost() {} };
