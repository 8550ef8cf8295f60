import { randomBytes } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { test } from 'tap';
import type { Link } from '../../src/link/link.ts';
import { FRAME, frame } from '../../src/protocol/frames.ts';
import { decodeReset, encodeOpen, type Welcome } from '../../src/protocol/messages.ts';
import type { TlsConnection } from '../../src/tls/connection.ts';
import { dial } from '../../src/tls/dial.ts';
import { joinNonce } from '../../src/tls/join.ts';
import { TlsLink } from '../../src/tls/link.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { eventually, withDeadline } from '../support/deadline.ts';
import { linkOptions, listenHere, nextLink } from './pair.ts';
import { relayedPair } from './relay.ts';

void test('a connection that ends without FIN resets its stream on both sides, and only that', async (t) => {
  const { client, server, relay } = await relayedPair(t, { lane: false });
  await settled(server.link);
  const here = open(client.link);
  const { recorder: there } = await server.accept();
  await settled(server.link);
  const [control, ...others] = relay.connections;
  for (const { client: end } of others) end.end();
  t.equal((await here.reset()).reason, 'LINK_LOST');
  t.equal((await there.reset()).reason, 'LINK_LOST');
  t.notOk(here.ended || there.ended);
  await eventually('all of them to end', () => others.every((pair) => pair.client.closed && pair.server.closed));
  t.notOk(control!.client.destroyed);
  t.strictSame([client.link.state, server.link.state], ['up', 'up']);
  const next = open(client.link);
  next.stream.end();
  await (await server.accept()).recorder.end();
});

void test('without its control connection a link drains: streams go on', async (t) => {
  const { client, server, relay } = await relayedPair(t, { lane: false });
  const here = open(client.link);
  const { recorder: there } = await server.accept();
  relay.connections[0]!.client.resetAndDestroy();
  await Promise.all([client, server].map((end) => end.until('draining', () => end.link.state === 'draining')));
  t.throws(() => open(client.link), { code: 'LINK_CLOSED' });
  const bytes = randomBytes(100_000);
  await here.write(bytes);
  here.stream.end();
  await there.end();
  t.ok(there.bytes.equals(bytes));
  t.strictSame([client.closes, server.closes], [[], []]);
  there.stream.end();
  await here.end();
  t.equal((await client.closed()).code, 'LINK_LOST');
  t.equal((await server.closed()).code, 'LINK_LOST');
});

void test('connections are made ahead, again after use, and more when more are used', async (t) => {
  const { client, server, relay } = await relayedPair(t, { lane: false });
  await settled(server.link);
  t.equal(relay.connections.length, 3, 'control and two');
  for (let round = 0; round < 3; round++) {
    const streams = Array.from({ length: 6 }, () => open(client.link));
    for (const { stream } of streams) {
      stream.end();
      (await server.accept()).recorder.stream.end();
    }
    for (const stream of streams) await stream.end();
  }
  await eventually('more than two to be ready', () => server.link instanceof TlsLink && server.link.idle > 2);
  client.link.drain();
  await Promise.all([client.closed(), server.closed()]);
  await eventually('all connections to end', () => relay.connections.every(({ client: end }) => end.destroyed));
});

void test('streams that are opened together wait for connections and lose nothing', async (t) => {
  const { client, server } = await relayedPair(t, { lane: false });
  const streams = Array.from({ length: 50 }, () => open(client.link));
  const bytes = randomBytes(100_000);
  let heldBack = 0;
  for (const recorder of streams) {
    if (recorder.stream.write(bytes) < bytes.length) t.fail('bytes before the connection are kept');
    if (recorder.stream.write(new Uint8Array(1_000_000)) < 1_000_000) heldBack++;
    recorder.stream.end();
  }
  t.equal(heldBack, 50, 'but not without bound');
  for (let n = 0; n < 50; n++) {
    const { recorder } = await server.accept();
    await recorder.end();
    if (!recorder.bytes.subarray(0, bytes.length).equals(bytes)) t.fail('other bytes');
    recorder.stream.end();
  }
  for (const recorder of streams) await recorder.end();
});

void test('a stream that was reset before it had a connection is never heard of', async (t) => {
  const { client, server } = await relayedPair(t, { lane: false });
  const streams = Array.from({ length: 20 }, () => open(client.link));
  for (const { stream } of streams) stream.reset('RESET');
  t.equal(client.link.streams, 0);
  const next = open(client.link);
  next.stream.write(Buffer.from('after'));
  next.stream.end();
  await eventually('the one that counts', () => server.accepted.some(({ recorder }) => recorder.text === 'after'));
  t.ok(server.accepted.length < 20);
});

void test('a reset does not wait for a peer that does not read', async (t) => {
  const { client, server } = await relayedPair(t, { lane: false });
  await settled(server.link);
  server.options = { holding: true };
  const here = open(client.link);
  await server.accept();
  await settled(server.link);
  const { connections } = client.link as TlsLink;
  const chunk = new Uint8Array(65_536);
  let sent = 0;
  await eventually('the stream to be stuck', () => {
    const before = sent;
    for (let taken = 1; taken > 0; sent += taken) taken = here.stream.write(chunk);
    return sent === before;
  });
  here.stream.reset('RESET');
  t.equal(client.link.streams, 0);
  await eventually('the connection to be given up', () => (client.link as TlsLink).connections < connections);
});

void test('what does not belong on a stream resets it with PROTOCOL and leaves the link', async (t) => {
  const nothing = new Uint8Array(0);
  const wrong: [string, Uint8Array][] = [
    ['DATA after FIN', Buffer.concat([frame(FRAME.FIN, nothing), frame(FRAME.DATA, Buffer.from('x'))])],
    ['a second FIN', Buffer.concat([frame(FRAME.FIN, nothing), frame(FRAME.FIN, nothing)])],
    ['READY', frame(FRAME.READY, nothing)],
    ['OPEN again', encodeOpen(0, '0000000000000001', '')],
    ['an unknown frame', Uint8Array.from([0x77, 0, 0, 0])],
    ['a RESET that does not parse', frame(FRAME.RESET, nothing)],
  ];
  const listener = await listenHere();
  t.teardown(() => listener.close());
  const accepted = nextLink(listener);
  const id = '00000000000000aa';
  const control = await dialHere(listener.address.port, id, randomBytes(16));
  t.teardown(() => control.connection.destroy());
  const server = new LinkRecorder(await accepted);
  for (const [name, bytes] of wrong) {
    const nonce = joinNonce(linkOptions().auth.hmac, control.welcome.resetToken, randomBytes(16));
    const { connection } = await dialHere(listener.address.port, id, nonce);
    const answer = nextReset(connection);
    connection.send(encodeOpen(0, '0000000000000001', ''));
    connection.send(bytes);
    const { recorder } = await server.accept();
    t.equal((await recorder.reset()).reason, 'PROTOCOL', name);
    t.equal(await answer, 'PROTOCOL', name);
  }
  t.equal(server.link.state, 'up');
  control.connection.send(encodeOpen(0, '0000000000000001', ''));
  t.equal((await server.closed()).code, 'PROTOCOL_VIOLATION', 'and the control connection has its own');
});

async function settled(server: Link): Promise<void> {
  await eventually('two connections to be ready', () => server instanceof TlsLink && server.idle === 2);
}

function open(link: Link): StreamRecorder {
  return new StreamRecorder(link.open({ tag: '0000000000000001', target: '' }));
}

/** One connection of a client's, without the link. */
function dialHere(port: number, linkId: string, nonce: Uint8Array): Promise<{ connection: TlsConnection; welcome: Welcome }> {
  const target = { host: '127.0.0.1', port, serverName: 'localhost' };
  const secureContext = createSecureContext({ minVersion: 'TLSv1.3' });
  const options = { target, options: linkOptions(), checkServer: () => {}, secureContext, linkId };
  return dial(options, nonce, new AbortController().signal, (connection, welcome) => {
    connection.handler = { onFrame() {}, onData() {}, onDrain() {}, onLost() {} };
    return { connection, welcome };
  });
}

function nextReset(connection: TlsConnection): Promise<string> {
  const reset = new Promise<string>((resolve) => {
    connection.handler = {
      onFrame: (type, payload) => {
        if (type === FRAME.RESET) resolve(decodeReset(payload).reason);
      },
      onData() {},
      onDrain() {},
      onLost: (error) => resolve(error.message),
    };
  });
  return withDeadline(reset, () => 'a RESET');
}
