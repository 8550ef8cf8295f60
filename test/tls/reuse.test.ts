import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectRaw } from 'node:tls';
import { test } from 'tap';
import { FRAME, frame, FrameReader } from '../../src/protocol/frames.ts';
import { ALPN, ClientHandshake } from '../../src/protocol/handshake.ts';
import { decodeWelcome, encodeOpen } from '../../src/protocol/messages.ts';
import { handshakeContext, hashCertificate } from '../../src/tls/context.ts';
import { joinNonce } from '../../src/tls/join.ts';
import { TlsLink } from '../../src/tls/link.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { eventually } from '../support/deadline.ts';
import { linkOptions, listenHere, nextLink, serverKeys } from './pair.ts';
import { relayedPair } from './relay.ts';

void test('a connection carries one stream after another, whichever side ends first', async (t) => {
  const { client, server, relay } = await relayedPair(t, { lane: false });
  for (let round = 0; round < 30; round++) {
    const here = open(client);
    const { recorder: there } = await server.accept();
    const [first, second] = round % 2 === 0 ? [here, there] : [there, here];
    const bytes = randomBytes(10_000);
    await first.write(bytes);
    first.stream.end();
    await second.end();
    t.ok(second.bytes.equals(bytes));
    second.stream.end();
    await first.end();
    t.equal(first.received, 0, 'nothing of the stream before');
    await eventually('its connection to be back', () => idle(server) === relay.connections.length - 1);
  }
  t.ok(relay.connections.length < 10, `${relay.connections.length} connections`);
});

void test('a stream that is over but not read does not keep its connection', async (t) => {
  const { client, server } = await relayedPair(t, { lane: false });
  await eventually('two connections to be ready', () => idle(server) === 2);
  server.options = { holding: true };
  const here = open(client);
  const bytes = randomBytes(10_000);
  await here.write(bytes);
  here.stream.end();
  const { recorder: there } = await server.accept();
  there.stream.end();
  await here.end();
  await eventually('the connection to be back', () => idle(server) === 3);
  t.equal(server.link.streams, 1);
  server.options = {};
  for (let n = 0; n < 3; n++) {
    const next = open(client);
    next.stream.write(Buffer.from('next'));
    next.stream.end();
    const { recorder } = await server.accept();
    await recorder.end();
    t.equal(recorder.text, 'next');
  }
  there.release();
  await there.end();
  t.ok(there.bytes.equals(bytes));
});

void test('a stream that was reset takes its connection with it', async (t) => {
  const { client, server, relay } = await relayedPair(t, { lane: false });
  const here = open(client);
  const { recorder: there } = await server.accept();
  there.stream.end();
  await here.end();
  there.stream.reset('RESET', 'after its end');
  t.equal((await here.reset()).reason, 'RESET');
  await eventually('a connection to end', () => relay.connections.some(({ client: end }) => end.closed));
  const next = open(client);
  next.stream.end();
  await (await server.accept()).recorder.end();
});

void test('the connection of a client that does not use it again is ended', async (t) => {
  const listener = await listenHere();
  t.teardown(() => listener.close());
  const accepted = nextLink(listener);
  const control = await oldClient(listener.address.port, randomBytes(16));
  t.teardown(() => control.socket.destroy());
  const server = new LinkRecorder(await accepted);
  const { token } = control;
  const { socket, types } = await oldClient(listener.address.port, joinNonce(linkOptions().auth.hmac, token, randomBytes(16)));
  socket.write(encodeOpen(0, '0000000000000001', ''));
  socket.write(frame(FRAME.FIN, new Uint8Array(0)));
  const { recorder } = await server.accept();
  await recorder.end();
  const ended = once(socket, 'end');
  recorder.stream.end();
  await ended;
  t.strictSame(types, [FRAME.WELCOME, FRAME.FIN]);
});

/** A client that says nothing of `reuse`; `types` are those of the frames that it gets. */
async function oldClient(port: number, nonce: Uint8Array) {
  const socket = connectRaw({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: [ALPN] });
  await once(socket, 'secureConnect');
  const context = handshakeContext(linkOptions(), hashCertificate((await serverKeys()).certificateDer), nonce);
  const handshake = new ClientHandshake(
    { ...context, settings: { ...context.settings, reuse: 0, endpoints: 0 } },
    '00000000000000aa',
  );
  const types: number[] = [];
  const token = new Promise<Uint8Array>((resolve) => {
    const onFrame = (type: number, payload: Uint8Array): void => {
      types.push(type);
      if (type === FRAME.WELCOME) resolve(decodeWelcome(payload).resetToken);
    };
    const reader = new FrameReader({ onFrame, onData() {} });
    socket.on('data', (bytes) => reader.push(bytes));
  });
  socket.write(handshake.hello);
  return { socket, types, token: await token };
}

function idle({ link }: LinkRecorder): number {
  return link instanceof TlsLink ? link.idle : 0;
}

function open({ link }: LinkRecorder): StreamRecorder {
  return new StreamRecorder(link.open({ tag: '0000000000000001', target: '' }));
}
