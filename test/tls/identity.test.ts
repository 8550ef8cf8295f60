import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createSecureContext, createServer, connect as connectRaw, type TLSSocket } from 'node:tls';
import { randomBytes } from 'node:crypto';
import { type Test, test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { hmacSha256 } from '../../src/identity/secret.ts';
import { ALPN } from '../../src/protocol/handshake.ts';
import { DEFAULT_SETTINGS, encodeWelcome } from '../../src/protocol/messages.ts';
import { dial } from '../../src/tls/dial.ts';
import { isJoinNonce, joinNonce } from '../../src/tls/join.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { eventually } from '../support/deadline.ts';
import { connectHere, linkOptions, listenHere, makePair, newServerKeys, nextFailure, nextLink, serverKeys } from './pair.ts';

void test('a wrong secret is told apart from a network failure, on both sides', async (t) => {
  const listener = await listenHere();
  t.teardown(() => listener.close());
  const cases = [
    { clientKey: new Uint8Array(32).fill(8), message: /closed the connection after the hello.*secret differs/ },
    { clientKey: null, message: /closed the connection after the hello.*wants a secret/ },
  ];
  for (const { clientKey, message } of cases) {
    const failure = nextFailure(listener);
    await t.rejects(connectHere(listener.address.port, linkOptions({ key: clientKey })), { code: 'AUTH_REJECTED', message });
    const { error, peer } = await failure;
    t.equal(error.code, 'AUTH_REJECTED');
    t.match(peer, /^127\.0\.0\.1:\d+$/);
  }
});

void test('a server without a secret refuses a client with one, and takes one without', async (t) => {
  const listener = await listenHere(linkOptions({ key: null }));
  t.teardown(() => listener.close());
  await t.rejects(connectHere(listener.address.port), { code: 'AUTH_REJECTED', message: /this server has none/ });
  const link = nextLink(listener);
  const client = await connectHere(listener.address.port, linkOptions({ key: null }));
  t.equal((await link).id, client.id);
  client.close(new QtunnelError('LINK_CLOSED', 'The test is over.'));
});

void test('a server that stops while a client says hello is not taken for one that refuses', async (t) => {
  const listener = await listenHere();
  const aborter = new AbortController();
  const attempt = connectHere(listener.address.port, { checkServer: () => void listener.close() }, aborter.signal);
  await t.rejects(attempt, { code: 'LINK_LOST' });
});

void test('a man in the middle with a certificate of his own is found out', async (t) => {
  const listener = await listenHere();
  t.teardown(() => listener.close());
  const port = await tlsServer(t, (client) => {
    const server = connectRaw({ host: '127.0.0.1', port: listener.address.port, ALPNProtocols: [ALPN], rejectUnauthorized: false });
    server.on('error', () => client.destroy());
    client.on('error', () => server.destroy());
    client.pipe(server).pipe(client);
  });
  const failure = nextFailure(listener);
  await t.rejects(connectHere(port), { code: 'AUTH_REJECTED' });
  t.equal((await failure).error.code, 'AUTH_REJECTED', 'the server saw that the proof is for another certificate');
});

void test('a server that does not know the secret is found out', async (t) => {
  const settings = { ...DEFAULT_SETTINGS, initialCredit: 1, maxStreams: 1, idleTimeout: 1 };
  for (const proof of [new Uint8Array(0), randomBytes(32)]) {
    const welcome = encodeWelcome({
      version: 1,
      nonce: randomBytes(16),
      proof,
      software: 'x',
      resetToken: randomBytes(16),
      settings,
    });
    const port = await tlsServer(t, (socket) => void socket.on('data', () => socket.write(welcome)));
    await t.rejects(connectHere(port), { code: 'AUTH_SERVER' });
  }
});

void test('the client judges the chain that the server presents', async (t) => {
  const listener = await listenHere();
  t.teardown(() => listener.close());
  const keys = await serverKeys();
  let seen: Uint8Array[] = [];
  const refusal = new QtunnelError('PIN_MISMATCH', 'Not the one.');
  const checkServer = (chain: Uint8Array[]): void => {
    seen = chain;
    throw refusal;
  };
  await t.rejects(connectHere(listener.address.port, { checkServer }), refusal);
  t.equal(seen.length, 1);
  t.ok(Buffer.from(seen[0]!).equals(keys.certificateDer));
});

void test('a new certificate is for new connections; a link lives through the change', async (t) => {
  const pair = await makePair();
  t.teardown(() => pair.close());
  const server = new LinkRecorder(pair.server);
  const keys = await newServerKeys();
  pair.listener.prepare(linkOptions(), keys)();
  let fresh: Uint8Array | undefined;
  const accepted = nextLink(pair.listener);
  const second = await connectHere(pair.listener.address.port, { checkServer: ([leaf]) => void (fresh = leaf) });
  await accepted;
  t.ok(Buffer.from(fresh!).equals(keys.certificateDer));
  second.close(new QtunnelError('LINK_CLOSED', 'Enough.'));
  // More than were warm before the change.
  const streams = Array.from({ length: 8 }, () => new StreamRecorder(pair.client.open({ tag: '0000000000000001', target: '' })));
  for (const { stream } of streams) {
    (await server.accept()).recorder.stream.end();
    stream.end();
  }
  for (const stream of streams) await stream.end();
  t.throws(() => pair.listener.prepare(linkOptions(), { ...keys, privateKeyPem: 'rubbish' }), { code: 'CERT_INVALID' });
});

void test('nobody else’s connection joins a link, with the secret or without', async (t) => {
  const pair = await makePair();
  t.teardown(() => pair.close());
  const server = new LinkRecorder(pair.server);
  const options = {
    target: { host: '127.0.0.1', port: pair.listener.address.port, serverName: 'localhost' },
    options: linkOptions(),
    checkServer: () => {},
    secureContext: createSecureContext({ minVersion: 'TLSv1.3' }),
    linkId: pair.client.id,
  };
  const failure = nextFailure(pair.listener);
  await t.rejects(
    dial(options, randomBytes(16), new AbortController().signal, () => {}),
    {
      code: 'PROTOCOL_VIOLATION',
      message: /another client/,
    },
  );
  t.equal((await failure).error.code, 'PROTOCOL_VIOLATION');
  await eventually('the link’s own connections to join', () => 'idle' in pair.server && pair.server.idle === 2);
  t.equal(server.closes.length, 0);
});

void test('a join nonce is good for one token only', (t) => {
  const token = randomBytes(16);
  const nonce = joinNonce(hmacSha256, token, randomBytes(16));
  t.ok(isJoinNonce(hmacSha256, token, nonce));
  t.notOk(isJoinNonce(hmacSha256, randomBytes(16), nonce));
  nonce[0]! ^= 1;
  t.notOk(isJoinNonce(hmacSha256, token, nonce));
  t.end();
});

/** A TLS server with qtunnel's ALPN and a certificate of its own. */
async function tlsServer(t: Test, onConnection: (socket: TLSSocket) => void): Promise<number> {
  const { certificatePem, privateKeyPem } = await newServerKeys();
  const sockets = new Set<TLSSocket>();
  const server = createServer({ cert: certificatePem, key: privateKeyPem, ALPNProtocols: [ALPN] }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
