import { readFileSync } from 'node:fs';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { AddressInfo, Socket } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'tap';
import type { Test } from 'tap';
import { temporaryFolder } from '../support/files.ts';
import { run } from '../support/process.ts';
import { COMMAND, MODES, startClient, startServer, startTunnel } from '../support/qtunnel.ts';
import type { LogLine, Mode, Qtunnel } from '../support/qtunnel.ts';
import { acceptor, dial, echoes, echoServer, ending } from '../support/tcp.ts';

for (const mode of MODES) {
  test(`${mode}: a wrong secret is called that, and opens nothing`, async (t) => {
    const { port: backend, accepted } = await acceptor(t);
    const server = await startServer(t, { mode, backend, secret: 'the right one' });
    const client = await clientRefused(t, mode, server.port, { secret: 'a wrong one' });
    t.match(await complaint(client.process, /secret/i), /secret/i);
    t.equal(await ending(await dial(t, client.port)), 'reset');
    t.equal(accepted(), 0);
    t.same(client.process.events('link_up'), []);
    t.notMatch(client.process.output + server.process.output, /a wrong one|the right one/);
  });

  test(`${mode}: a client without the server's secret opens nothing`, async (t) => {
    const { port: backend, accepted } = await acceptor(t);
    const server = await startServer(t, { mode, backend, secret: 'only here' });
    const client = await clientRefused(t, mode, server.port, { secret: null, flags: ['-insecure'] });
    await complaint(client.process, /secret/i);
    t.equal(await ending(await dial(t, client.port)), 'reset');
    t.equal(accepted(), 0);
  });

  test(`${mode}: a client with a secret refuses a server without one`, async (t) => {
    const { port: backend, accepted } = await acceptor(t);
    const server = await startServer(t, { mode, backend, secret: null });
    const client = await clientRefused(t, mode, server.port, { secret: 'only here' });
    await complaint(client.process, /secret/i);
    t.equal(await ending(await dial(t, client.port)), 'reset');
    t.equal(accepted(), 0);
  });

  test(`${mode}: without a secret the first fingerprint is remembered and another one refused`, async (t) => {
    const backend = await echoServer(t);
    const server = await startServer(t, { mode, backend, secret: null });
    const knownHosts = join(temporaryFolder(t), 'known_hosts');
    const flags = [`-known-hosts=${knownHosts}`];
    const options = { mode, server: server.port, secret: null, flags };
    const first = await startClient(t, options);
    t.ok(await echoes(await dial(t, first.port), 'trusted at first use'));
    await first.process.kill();
    t.match(readFileSync(knownHosts, 'utf8').replaceAll(':', '').toLowerCase(), plain(server.fingerprint));
    const second = await startClient(t, options);
    t.ok(await echoes(await dial(t, second.port), 'known'));
    await second.process.kill();

    await server.process.kill();
    const other = await startServer(t, {
      mode,
      backend,
      secret: null,
      listen: `127.0.0.1:${server.port}`,
      stateDir: temporaryFolder(t),
    });
    t.not(other.fingerprint, server.fingerprint);
    const third = await startClient(t, { ...options, waitForLink: false, flags: [...flags, '-dial-timeout=500ms'] });
    t.match(await complaint(third.process, /changed/i), /known[-_]hosts/);
    t.equal(await ending(await dial(t, third.port)), 'reset');
  });

  test(`${mode}: -pin accepts its certificate and no other`, async (t) => {
    const backend = await echoServer(t);
    const server = await startServer(t, { mode, backend, secret: null });
    const right = await startClient(t, { mode, server: server.port, secret: null, flags: [`-pin=${server.fingerprint}`] });
    t.ok(await echoes(await dial(t, right.port), 'pinned'));

    const wrong = await clientRefused(t, mode, server.port, { secret: null, flags: [`-pin=${'ab'.repeat(32)}`] });
    t.match(await complaint(wrong.process, /pin/i), /pin/i);
    t.equal(await ending(await dial(t, wrong.port)), 'reset');
  });
}

test('a certificate of -generate-cert is used, and its authority or pin accepted', async (t) => {
  const folder = temporaryFolder(t);
  const [cert, key] = [join(folder, 'server.crt'), join(folder, 'server.key')];
  await run(t, process.execPath, [COMMAND, '-generate-cert', `-cert-file=${cert}`, `-key-file=${key}`]);
  const flags = [`-cert-file=${cert}`, `-key-file=${key}`];
  const server = await startServer(t, { mode: 'quic', backend: await echoServer(t), secret: null, flags });
  const client = await startClient(t, { mode: 'quic', server: server.port, secret: null, flags: [`-ca-file=${cert}`] });
  t.ok(await echoes(await dial(t, client.port), 'signed'));
});

test('a man in the middle with a certificate of his own gets nothing, though he passes every byte on', async (t) => {
  const { port: backend, accepted } = await acceptor(t);
  const server = await startServer(t, { mode: 'tls', backend });
  const middle = await manInTheMiddle(t, server.port);
  const client = await clientRefused(t, 'tls', middle.port);
  await complaint(client.process, /secret|middle|certificate/i);
  t.equal(await ending(await dial(t, client.port)), 'reset');
  t.ok(middle.relayed() > 0, 'he was asked, and asked the server');
  t.equal(accepted(), 0);
  t.same(client.process.events('link_up'), []);

  const direct = await startTunnel(t, 'tls', await echoServer(t));
  t.ok(await echoes(await dial(t, direct.port), 'without him'), 'the same secret works without him');
});

function clientRefused(t: Test, mode: Mode, server: number, options: { secret?: string | null; flags?: readonly string[] } = {}) {
  const flags = ['-dial-timeout=500ms', ...(options.flags ?? [])];
  return startClient(t, { mode, server, waitForLink: false, ...options, flags });
}

/** The first warning or error of the log whose text matches. */
function complaint(qtunnel: Qtunnel, pattern: RegExp): Promise<string> {
  const isComplaint = (line: LogLine) => isSerious(line['level']) && pattern.test(String(line.msg ?? line['reason']));
  return qtunnel.waitFor(`a complaint like ${pattern}`, () => {
    const line = qtunnel.log.find(isComplaint);
    return line && String(line.msg ?? line['reason']);
  });
}

function isSerious(level: unknown): boolean {
  return typeof level === 'number' ? level >= 40 : level === 'warn' || level === 'error';
}

/** Ends TLS with a certificate of its own and passes what is inside on to the server, in both directions. */
async function manInTheMiddle(t: Test, serverPort: number): Promise<{ port: number; relayed: () => number }> {
  const folder = temporaryFolder(t);
  const [cert, key] = [join(folder, 'his.crt'), join(folder, 'his.key')];
  await run(t, process.execPath, [COMMAND, '-generate-cert', `-cert-file=${cert}`, `-key-file=${key}`]);
  const sockets: Socket[] = [];
  let relayed = 0;
  const middle = createTlsServer(
    { cert: readFileSync(cert), key: readFileSync(key), ALPNProtocols: ALPN, minVersion: 'TLSv1.3' },
    (toClient) => {
      const toServer = connectTls({ port: serverPort, host: '127.0.0.1', ALPNProtocols: ALPN, rejectUnauthorized: false });
      sockets.push(toClient, toServer);
      toClient.on('error', () => toServer.destroy());
      toServer.on('error', () => toClient.destroy());
      toClient.on('data', () => relayed++);
      toClient.pipe(toServer).pipe(toClient);
    },
  );
  t.teardown(() => {
    middle.close();
    for (const socket of sockets) socket.destroy();
  });
  middle.listen(0, '127.0.0.1');
  await once(middle, 'listening');
  return { port: (middle.address() as AddressInfo).port, relayed: () => relayed };
}

function plain(fingerprint: string): string {
  return fingerprint
    .replaceAll(':', '')
    .replace(/^SHA256/i, '')
    .toLowerCase();
}

const ALPN = ['qtunnel/1'];
