import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { connect as connectRaw, type ConnectionOptions } from 'node:tls';
import { type Test, test } from 'tap';
import { type ErrorCode, QtunnelError } from '../../src/errors.ts';
import type { LinkListener } from '../../src/link/options.ts';
import { hmacSha256 } from '../../src/identity/secret.ts';
import { ALPN, ClientHandshake } from '../../src/protocol/handshake.ts';
import { DEFAULT_SETTINGS, encodePing } from '../../src/protocol/messages.ts';
import { acceptTls, listenTls } from '../../src/tls/listen.ts';
import { LIMITS } from '../link/limits.ts';
import { eventually } from '../support/deadline.ts';
import { freePort, listen } from '../support/tcp.ts';
import { connectHere, linkOptions, listenHere, newServerKeys, nextFailure, nextLink, SECRET, serverKeys } from './pair.ts';

void test('what is no client of ours is turned away with a reason, and disturbs nobody', async (t) => {
  const listener = await listenHere();
  t.teardown(() => listener.close());
  const cases: { name: string; code: ErrorCode; message: RegExp; come: () => Socket }[] = [
    {
      name: 'HTTP',
      code: 'PROTOCOL_VIOLATION',
      message: /HTTP/,
      come: () => tcp(t, listener, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    },
    { name: 'garbage', code: 'PROTOCOL_VIOLATION', message: /not a TLS/, come: () => tcp(t, listener, 'SSH-2.0-OpenSSH_9.2\r\n') },
    { name: 'a broken record', code: 'PROTOCOL_VIOLATION', message: /TLS/, come: () => tcp(t, listener, Buffer.alloc(600, 0x16)) },
    { name: 'no ALPN', code: 'PROTOCOL_VIOLATION', message: /ALPN/, come: () => tls(t, listener, {}) },
    { name: 'another ALPN', code: 'PROTOCOL_VIOLATION', message: /ALPN/, come: () => tls(t, listener, { ALPNProtocols: ['h2'] }) },
    { name: 'TLS 1.2', code: 'PROTOCOL_VIOLATION', message: /TLS 1\.3/, come: () => tls(t, listener, { maxVersion: 'TLSv1.2' }) },
    {
      name: 'a frame too long',
      code: 'PROTOCOL_VIOLATION',
      message: /too long/,
      come: () => tls(t, listener, OURS, [1, 255, 255, 255]),
    },
    { name: 'DATA', code: 'PROTOCOL_VIOLATION', message: /DATA/, come: () => tls(t, listener, OURS, [0x11, 0, 0, 1, 7]) },
    {
      name: 'PING',
      code: 'PROTOCOL_VIOLATION',
      message: /where HELLO belongs/,
      come: () => tls(t, listener, OURS, encodePing(4, new Uint8Array(8))),
    },
    {
      name: 'another version',
      code: 'VERSION_MISMATCH',
      message: /version 9/,
      come: () => tls(t, listener, OURS, [1, 0, 0, 1, 9]),
    },
    { name: 'a short visit', code: 'LINK_LOST', message: /went away/, come: () => tcp(t, listener, '').end() },
  ];
  for (const { name, code, message, come } of cases) {
    const failure = nextFailure(listener);
    const socket = come();
    const { error, peer } = await failure;
    t.match(error, { code, message }, name);
    t.match(peer, /^127\.0\.0\.1:\d+$/, name);
    await eventually(`${name}: the end of the connection`, () => socket.closed);
  }
  const link = nextLink(listener);
  const client = await connectHere(listener.address.port);
  client.close(DONE);
  await link;
});

void test('with a secret a stranger hears nothing after the TLS handshake, without one why he is refused', async (t) => {
  for (const [key, isHeard] of [
    [SECRET, false],
    [null, true],
  ] as const) {
    const listener = await listenHere(linkOptions({ key }));
    t.teardown(() => listener.close());
    for (const [name, first] of Object.entries(await badHellos())) {
      const socket = tls(t, listener, OURS, first);
      let heard = 0;
      socket.on('data', (bytes: Uint8Array) => (heard += bytes.length));
      const failure = nextFailure(listener);
      await once(socket, 'secureConnect');
      await failure;
      await eventually(`${name}: the end of the connection`, () => socket.closed);
      t.equal(heard > 0, isHeard, name);
    }
  }
});

void test('of one source only so many are heard at once, until a client has come from there', async (t) => {
  const listener = await listenHere(linkOptions({ strangers: { ...LIMITS, maxHandshakesPerSource: 3 } }));
  t.teardown(() => listener.close());
  const refusals: string[] = [];
  listener.onRefusal = (refusal) => refusals.push(refusal);
  const sockets = Array.from({ length: 5 }, () => tcp(t, listener, ''));
  await eventually('the last two to be sent away', () => sockets.filter(({ closed }) => closed).length === 2);
  t.same(refusals, ['source', 'source']);
  t.equal(listener.handshakes, 3);
  sockets.find(({ closed }) => !closed)!.destroy();
  const client = await eventually('a place', () => connectHere(listener.address.port).catch(() => undefined));
  client!.close(DONE);
  const before = refusals.length;
  const more = Array.from({ length: 5 }, () => tcp(t, listener, ''));
  await Promise.all(more.map((socket) => once(socket, 'connect')));
  (await connectHere(listener.address.port)).close(DONE);
  t.equal(refusals.length, before);
});

void test('who fails again and again has to wait', async (t) => {
  const listener = await listenHere(linkOptions({ strangers: { ...LIMITS, attemptsPerSource: 3 } }));
  t.teardown(() => listener.close());
  const refusals: string[] = [];
  listener.onRefusal = (refusal) => refusals.push(refusal);
  for (let n = 0; n < 4; n++) {
    const failure = nextFailure(listener);
    tcp(t, listener, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await failure;
  }
  await t.rejects(connectHere(listener.address.port), { code: 'LINK_LOST' });
  t.same(refusals, ['penalty']);
  const link = await eventually('the penalty to end', () => connectHere(listener.address.port).catch(() => undefined));
  link!.close(DONE);
});

void test('a client that says nothing is let go', async (t) => {
  const listener = await listenHere(linkOptions({ strangers: { ...LIMITS, timeout: 500 } }));
  t.teardown(() => listener.close());
  const failure = nextFailure(listener);
  const socket = tls(t, listener, OURS);
  t.equal((await failure).error.code, 'LINK_TIMEOUT');
  await eventually('the end of the connection', () => socket.closed);
});

void test('strangers are limited in number, and do not keep clients out', async (t) => {
  const listener = await listenHere(linkOptions({ strangers: { ...LIMITS, maxHandshakes: 40 } }));
  t.teardown(() => listener.close());
  const failures: QtunnelError[] = [];
  listener.onHandshakeFailure = (failure) => failures.push(failure);
  const sockets = Array.from({ length: 40 }, () => tcp(t, listener, ''));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  const link = nextLink(listener);
  const client = await connectHere(listener.address.port);
  await link;
  t.ok(failures.length > 0);
  t.ok(failures.every(({ code }) => code === 'SERVER_BUSY'));
  await eventually('the end of the one that was silent for longest', () => sockets[0]!.closed);
  t.ok(sockets.filter((socket) => socket.closed).length < 10, 'the others keep their places');
  client.close(DONE);
});

void test('who resets his connection before it is heard, or comes again from the same port, leaves nothing', async (t) => {
  const directory = { announce() {}, withdraw() {}, find: () => undefined, onWithdrawn() {}, close() {} };
  const strangers = { ...LIMITS, maxHandshakes: 2 };
  const acceptor = acceptTls({ host: '127.0.0.1', port: 0 }, await serverKeys(), linkOptions({ strangers }), directory);
  t.teardown(() => acceptor.close());
  const taken: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => taken.push(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  /** A connection that the server has and has not heard of the reset of. */
  const come = async (localPort = 0, isKnown = false): Promise<Socket> => {
    const socket = connect({ port, host: '127.0.0.1', localPort });
    socket.on('error', () => {});
    await once(socket, 'connect');
    const { localPort: from = 0 } = socket;
    const there = await eventually('the connection', () => taken.pop());
    // Node asks once who the peer is.
    if (isKnown) t.equal(there!.remotePort, from);
    socket.resetAndDestroy();
    await once(socket, 'close');
    return there!;
  };
  for (let n = 0; n < 3; n++) {
    const samePort = await freePort();
    const first = await come(samePort, true);
    const [gone, alsoGone, again] = [await come(), await come(), await come(samePort, true)];
    for (const socket of [first, gone, alsoGone, again]) acceptor.accept(socket);
    await eventually('them to be gone', () => [first, gone, alsoGone, again].every(({ closed }) => closed));
    t.equal(acceptor.handshakes, 0);
  }
});

void test('the client says what is wrong with the way', async (t) => {
  const http = await listen(t, (socket) => void socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
  await t.rejects(connectHere(http), { code: 'PROTOCOL_VIOLATION', message: /does not speak TLS 1\.3/ });
  const closing = await listen(t, (socket) => socket.destroy());
  await t.rejects(connectHere(closing), { code: 'LINK_LOST' });
  await t.rejects(connectHere(await freePort()), { code: 'LINK_REFUSED', message: /server running/ });
});

void test('an attempt can be given up', async (t) => {
  const arrived: Socket[] = [];
  const aborter = new AbortController();
  const silent = await listen(t, (socket) => {
    arrived.push(socket);
    socket.resume();
    aborter.abort();
  });
  await t.rejects(connectHere(silent, {}, aborter.signal), { code: 'ABORTED' });
  if (!arrived[0]!.readableEnded) await once(arrived[0]!, 'end');
  await t.rejects(connectHere(silent, {}, aborter.signal), { code: 'ABORTED' });
  t.equal(arrived.length, 1);
});

void test('a port that is taken and a key that does not fit are said clearly', async (t) => {
  const listener = await listenHere();
  t.teardown(() => listener.close());
  await t.rejects(listenTls(listener.address, await serverKeys(), linkOptions()), { code: 'LISTEN_FAILED', message: /taken/ });
  const keys = { ...(await serverKeys()), privateKeyPem: (await newServerKeys()).privateKeyPem };
  await t.rejects(listenTls({ host: '127.0.0.1', port: 0 }, keys, linkOptions()), { code: 'CERT_KEY_MISMATCH' });
});

function tcp(t: Test, { address }: LinkListener, first: string | Uint8Array): Socket {
  const socket = connect(address.port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  socket.on('error', () => {});
  socket.resume();
  if (first.length > 0) socket.write(first);
  return socket;
}

function tls(t: Test, { address }: LinkListener, options: ConnectionOptions, first: ArrayLike<number> = []): Socket {
  const socket = connectRaw({ host: '127.0.0.1', port: address.port, rejectUnauthorized: false, ...options });
  t.teardown(() => socket.destroy());
  socket.on('error', () => {});
  socket.resume();
  if (first.length > 0) socket.write(Uint8Array.from(first));
  return socket;
}

/** Of one who does not know the secret. */
async function badHellos(): Promise<Record<string, Uint8Array>> {
  const certificate = createHash('sha256')
    .update((await serverKeys()).certificateDer)
    .digest();
  const settings = { ...DEFAULT_SETTINGS, initialCredit: 1, maxStreams: 1, idleTimeout: 1000 };
  const context = { hmac: hmacSha256, key: SECRET.map(() => 9), certificate, nonce: SECRET.subarray(16), software: 's', settings };
  const { hello } = new ClientHandshake(context, '0123456789abcdef');
  return {
    'a wrong proof': hello,
    'another version': Uint8Array.of(1, 0, 0, 1, 9),
    'a HELLO cut short': Uint8Array.of(1, 0, 0, 3, 1, 2, 3),
    PING: encodePing(4, new Uint8Array(8)),
  };
}

const OURS = { ALPNProtocols: [ALPN] };
const DONE = new QtunnelError('LINK_CLOSED', 'The test is over.');
