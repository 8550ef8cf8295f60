import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import { test } from 'tap';
import {
  type ClientOptions,
  type ConnectionEndInfo,
  type ConnectionInfo,
  type LinkInfo,
  type QtunnelError,
  startClient,
  startServer,
} from '../../src/index.ts';
import { withDeadline } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { MODES } from '../support/qtunnel.ts';
import { acceptor, dial, echoes, echoServer, ending, freePort, receive, receiveAll } from '../support/tcp.ts';
import { client, clientOptions, open, pair, SECRET, server } from './tunnel.ts';

test('a limit on the bandwidth holds for connect() as well', async (t) => {
  const near = await server(t, 'quic', await echoServer(t));
  const far = await client(t, 'quic', near, { bandwidth: 16_000_000 });
  const begin = performance.now();
  const duplex = await open(far);
  const block = Buffer.alloc(500_000, 'x');
  t.ok(await echoes(duplex, block));
  const credit = (performance.now() - begin) * 2_000;
  t.ok(block.length <= credit + 20 * 2_000 + 65_536, `${block.length} bytes, credit for ${credit}`);
});

test('a connection goes to the backend that it names', async (t) => {
  const near = await server(t, 'quic', await freePort(), { backend: [`echo=127.0.0.1:${await echoServer(t)}`, '127.0.0.1:1'] });
  const far = await client(t, 'quic', near);
  const first = await far.connect({ target: 'echo' });
  t.ok(await echoes(first, 'hello'));
  first.destroy();
  const [error] = (await once(await far.connect({ target: 'other' }), 'error')) as [QtunnelError];
  t.equal(error.code, 'BACKEND_UNKNOWN');
  await t.rejects(far.connect({ target: 'no name' }), { code: 'CONFIG_INVALID', message: /^target: expected a name/ });
  await far.reload({ target: 'echo' });
  t.ok(await echoes(await open(far), 'hello again'));
});

for (const mode of MODES) {
  test(`${mode}: handles say where they are and what they carry`, async (t) => {
    const { server: near, client: far } = await pair(t, mode, await echoServer(t));
    t.equal(near.address.host, '127.0.0.1');
    t.ok(near.address.port > 0);
    t.match(near.fingerprint, /^[0-9a-f]{64}$/);
    t.equal(far.address, null);

    const link = await withDeadline(far.ready(), () => 'a link');
    t.match(link, { transport: mode, state: 'up', peer: `127.0.0.1:${near.address.port}` });
    t.same(
      far.links.map(({ id }) => id),
      [link.id],
    );
    t.same(
      near.links.map(({ id }) => id),
      [link.id],
    );
    const duplex = await open(far);
    t.ok(await echoes(duplex, 'hello'));
    t.equal(far.connections, 1);
    t.equal(near.connections, 1);
  });

  test(`${mode}: both sides tell of the same link and the same connection`, async (t) => {
    const near = await server(t, mode, await echoServer(t));
    const [linkAtServer, connectionAtServer, endAtServer] = ['linkUp', 'connection', 'connectionEnd'].map((name) =>
      once(near, name),
    ) as [Promise<[LinkInfo]>, Promise<[ConnectionInfo]>, Promise<[ConnectionEndInfo]>];
    const far = await client(t, mode, near);
    const [up] = (await withDeadline(once(far, 'linkUp'), () => 'linkUp')) as [LinkInfo];
    t.equal((await linkAtServer)[0].id, up.id);

    const begun = once(far, 'connection') as Promise<[ConnectionInfo]>;
    const ended = once(far, 'connectionEnd') as Promise<[ConnectionEndInfo]>;
    const duplex = await open(far);
    duplex.end('12345');
    await receiveAll(duplex);
    const [{ tag, link, transport }] = await begun;
    t.same({ link, transport }, { link: up.id, transport: mode });
    t.equal((await connectionAtServer)[0].tag, tag);
    t.match((await withDeadline(ended, () => 'the end here'))[0], { tag, sent: 5, received: 5, reason: null });
    t.match((await withDeadline(endAtServer, () => 'the end there'))[0], { tag, sent: 5, received: 5, reason: null });

    const downs = [once(near, 'linkDown'), once(far, 'linkDown')];
    const closed = once(far, 'close');
    await far.close();
    for (const down of downs) t.equal(((await withDeadline(down, () => 'linkDown')) as [LinkInfo])[0].id, up.id);
    await withDeadline(closed, () => 'close');
  });

  test(`${mode}: with a local port it serves TCP as well`, async (t) => {
    const near = await server(t, mode, await echoServer(t));
    const far = await client(t, mode, near, { listen: '127.0.0.1:0' });
    const socket = await dial(t, far.address!.port);
    t.ok(await echoes(socket, 'over TCP'));
    t.ok(await echoes(await open(far), 'without'));
    t.equal(far.connections, 2);
  });

  test(`${mode}: a wrong secret rejects ready() and connect() at once and is told on both sides`, async (t) => {
    // Over QUIC the server is silent to it, and TLS tells.
    const near = await server(t, mode, await echoServer(t), { fallback: true });
    const turnedAway = once(near, 'turnedAway') as Promise<[QtunnelError, string]>;
    const far = await client(t, mode, near, { secret: 'another', fallback: true });
    const failed = once(far, 'linkFailed') as Promise<[QtunnelError, { transport: string; retryIn: number }]>;
    await t.rejects(
      withDeadline(far.ready(), () => 'an answer'),
      { code: 'AUTH_REJECTED' },
    );
    await t.rejects(far.connect(), { code: 'AUTH_REJECTED' });
    const [reason, attempt] = await failed;
    t.match(reason, { code: 'AUTH_REJECTED' });
    t.equal(attempt.transport, 'tls');
    t.ok(attempt.retryIn > 0);
    const [error, peer] = await withDeadline(turnedAway, () => 'turnedAway');
    t.equal(error.code, 'AUTH_REJECTED');
    t.match(peer, /^127\.0\.0\.1:\d+$/);

    await far.reload({ secret: SECRET });
    t.ok(await echoes(await open(far), 'after a reload with the right one'));
  });

  test(`${mode}: the server may come later; dialTimeout bounds the waiting of connect()`, async (t) => {
    const port = await freePort();
    const backend = await echoServer(t);
    const far = await client(t, mode, { address: { host: '127.0.0.1', port } } as never, { dialTimeout: 300 });
    await t.rejects(far.connect(), { name: 'QtunnelError', code: /^LINK_/ });
    const ready = far.ready();
    await server(t, mode, backend, { listen: { host: '127.0.0.1', port } });
    t.match(await withDeadline(ready, () => 'the link'), { transport: mode });
    t.ok(await echoes(await open(far), 'hello'));
  });

  test(`${mode}: drain lets open connections end and takes no new ones`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { server: near, client: far } = await pair(t, mode, port);
    const [duplex, service] = [await open(far), await accept()];
    const drained = far.drain();
    await t.rejects(far.connect(), { code: 'SHUTTING_DOWN' });
    await t.rejects(far.ready(), { code: 'SHUTTING_DOWN' });
    duplex.end('last words');
    t.equal((await receiveAll(service)).toString(), 'last words');
    service.end('good bye');
    t.equal((await receiveAll(duplex)).toString(), 'good bye');
    t.equal(await withDeadline(drained, () => 'the drain'), true);
    t.equal(await near.drain(), true);
  });

  test(`${mode}: a drain that takes too long cuts off, and so does close`, async (t) => {
    const { port, accept } = await acceptor(t);
    const near = await server(t, mode, port);
    const far = await client(t, mode, near, { drainTimeout: 50 });
    const [late, lateService] = [await far.connect(), await accept()];
    const error = once(late, 'error');
    t.equal(await withDeadline(far.drain(), () => 'the drain'), false);
    t.match((await error)[0], { code: 'SHUTTING_DOWN' });
    t.equal(await ending(lateService), 'reset');

    const other = await client(t, mode, near);
    const [cut] = [await other.connect(), await accept()];
    const cutError = once(cut, 'error');
    const draining = other.drain();
    await other.close();
    t.equal(await draining, false);
    t.match((await cutError)[0], { code: 'SHUTTING_DOWN' });
    t.equal(await other.drain(), false);
  });

  test(`${mode}: a server that drains is done when its connections are`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { server: near, client: far } = await pair(t, mode, port);
    const [duplex, service] = [await open(far), await accept()];
    const drained = near.drain();
    duplex.end('request');
    t.equal((await receiveAll(service)).toString(), 'request');
    const answer = Buffer.alloc(1024 * 1024, 'a');
    service.end(answer);
    t.ok((await receiveAll(duplex)).equals(answer));
    t.equal(await withDeadline(drained, () => 'the drain'), true);
  });

  test(`${mode}: reload changes the backend for new connections and leaves open ones alone`, async (t) => {
    const first = await acceptor(t);
    const second = await acceptor(t);
    const { server: near, client: far } = await pair(t, mode, first.port);
    const [before, firstService] = [await open(far), await first.accept()];
    await near.reload({ backend: { host: '127.0.0.1', port: second.port } });
    const [after, secondService] = [await open(far), await second.accept()];
    for (const [duplex, service] of [
      [before, firstService],
      [after, secondService],
    ] as const) {
      duplex.write('ping');
      t.equal((await receive(service, 4)).toString(), 'ping');
    }
    await t.rejects(near.reload({ secretFile: '/nowhere', secret: undefined }), { code: 'FILE_UNREADABLE' });
    await t.rejects(near.reload({ buffer: 1 }), { code: 'CONFIG_INVALID' });
    t.ok((after.write('pong'), (await receive(secondService, 4)).equals(Buffer.from('pong'))), 'a bad reload changes nothing');
    await near.close();
    await t.rejects(near.reload(), { code: 'SHUTTING_DOWN' });
  });

  test(`${mode}: a reload of the client opens and closes its local port`, async (t) => {
    const near = await server(t, mode, await echoServer(t));
    const far = await client(t, mode, near);
    await far.ready();
    const duplex = await open(far);
    t.ok(await echoes(duplex, 'before'));
    await far.reload({ listen: '127.0.0.1:0' });
    const { port } = far.address!;
    t.ok(await echoes(await dial(t, port), 'over TCP'));
    await far.reload({ listen: null });
    t.equal(far.address, null);
    await t.rejects(once(connectTcp(port, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' });
    t.ok(await echoes(duplex, 'still open'));
  });

  test(`${mode}: several servers and clients in one process do not know each other`, async (t) => {
    const [one, two] = [await acceptor(t), await acceptor(t)];
    const [first, second] = await Promise.all([pair(t, mode, one.port), pair(t, mode, two.port)]);
    const [a, atOne] = [await open(first.client), await one.accept()];
    const [b, atTwo] = [await open(second.client), await two.accept()];
    a.write('to one');
    b.write('to two');
    t.equal((await receive(atOne, 6)).toString(), 'to one');
    t.equal((await receive(atTwo, 6)).toString(), 'to two');
    await first.server.close();
    b.write('again');
    t.equal((await receive(atTwo, 5)).toString(), 'again');
  });

  test(`${mode}: the signal ends a client with everything that it carries`, async (t) => {
    const { port, accept } = await acceptor(t);
    const near = await server(t, mode, port);
    const over = new AbortController();
    const far = await client(t, mode, near, { signal: over.signal });
    const [duplex, service] = [await far.connect(), await accept()];
    const error = once(duplex, 'error');
    const closed = once(far, 'close');
    over.abort();
    await withDeadline(closed, () => 'close');
    t.ok((await error)[0]);
    t.equal(await ending(service), 'reset');
    await t.rejects(far.connect(), { code: 'ABORTED' });
  });

  test(`${mode}: a signal for one connection`, async (t) => {
    const { port, accept } = await acceptor(t);
    const { client: far } = await pair(t, mode, port);
    const one = new AbortController();
    const [cut, service] = [await far.connect({ signal: one.signal }), await accept()];
    const [other, otherService] = [await open(far), await accept()];
    const error = once(cut, 'error');
    const why = new Error('changed my mind');
    one.abort(why);
    t.match((await error)[0], { code: 'ABORTED', cause: why });
    t.equal(await ending(service), 'reset');
    other.write('x');
    await receive(otherService, 1);
    await t.rejects(far.connect({ signal: one.signal }), { code: 'ABORTED' });
    await t.rejects(far.ready({ signal: one.signal }), { code: 'ABORTED' });
    t.equal(far.connections, 1);
  });
}

test('a signal that fires before or during the start leaves nothing behind', async (t) => {
  const port = await freePort();
  const options = { listen: { host: '127.0.0.1', port }, stateDir: temporaryFolder(t), secret: SECRET, quic: true };
  await t.rejects(startServer({ ...options, signal: AbortSignal.abort() }), { code: 'ABORTED' });
  const during = new AbortController();
  const starting = startServer({ ...options, signal: during.signal });
  during.abort();
  await t.rejects(starting, { code: 'ABORTED' });

  const again = await startServer(options);
  t.teardown(() => again.close());
  t.equal(again.address.port, port);
  const late = new AbortController();
  const starting2 = startClient({ ...clientOptions('quic', again), listen: '127.0.0.1:0', signal: late.signal });
  late.abort();
  await t.rejects(starting2, { code: 'ABORTED' });
});

test('connections that wait for a link end with the signal, with close and with the limit', async (t) => {
  const nobody = { host: '127.0.0.1', port: await freePort() };
  const far = await client(t, 'quic', { address: nobody } as never, { maxConnections: 2 });
  const one = new AbortController();
  const waiting = [far.connect({ signal: one.signal }), far.connect()];
  const outcomes = Promise.allSettled(waiting);
  await t.rejects(far.connect(), { code: 'STREAM_LIMIT' });
  one.abort();
  await far.close();
  t.match(await outcomes, [{ reason: { code: 'ABORTED' } }, { reason: { code: 'SHUTTING_DOWN' } }]);
  t.equal(far.connections, 0);
});

test('wrong options are refused with the option named', async (t) => {
  const refusals: [() => Promise<unknown>, string, RegExp][] = [
    [() => startServer({ listne: ':1' } as never), 'CONFIG_INVALID', /^listne is not an option/],
    [() => startServer({ clientmode: true } as never), 'CONFIG_INVALID', /^clientmode/],
    [() => startServer({ pin: 'ab'.repeat(32) } as never), 'CONFIG_INVALID', /^pin/],
    [() => startClient({ backend: 'nohost' }), 'CONFIG_INVALID', /^backend/],
    [() => startClient({ clientCa: 'x' } as ClientOptions), 'CONFIG_INVALID', /^clientCa/],
  ];
  for (const [start, code, message] of refusals) await t.rejects(start(), { name: 'QtunnelError', code, message });
});

test('a taken port is said so, and await using closes', async (t) => {
  const backend = await echoServer(t);
  const near = await server(t, 'quic', backend, { fallback: true });
  await t.rejects(server(t, 'quic', backend, { listen: near.address }), { code: 'LISTEN_FAILED' });
  const far = await client(t, 'quic', near);
  await far[Symbol.asyncDispose]();
  await t.rejects(far.connect(), { code: 'SHUTTING_DOWN' });
});

test('the log is the one that was given', async (t) => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const secretFile = join(temporaryFolder(t), 'secret');
  writeFileSync(secretFile, SECRET, { mode: 0o600 });
  const near = await server(t, 'quic', await echoServer(t), { log, tag: 'near', secret: undefined, secretFile });
  const far = await client(t, 'quic', near, { log, tag: 'far' });
  await far.ready();
  t.ok(lines.some(({ event, tunnel }) => event === 'listening' && tunnel === 'near'));
  t.ok(lines.some(({ event, tunnel }) => event === 'link_up' && tunnel === 'far'));
  t.notOk(JSON.stringify(lines).includes(SECRET));
});
