import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import type { Test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { MODES, startClient, startQtunnel, startServer, startTunnel } from '../support/qtunnel.ts';
import type { Tunnel } from '../support/qtunnel.ts';
import { dial, echoes, echoServer, ending, freePort, listen, receive } from '../support/tcp.ts';

type End = 'server' | 'client';
const ENDS: readonly End[] = ['server', 'client'];

for (const mode of MODES)
  for (const end of ENDS) {
    test(`${mode}: SIGTERM to an idle ${end} ends it with 0`, async (t) => {
      const tunnel = await startTunnel(t, mode, await echoServer(t));
      t.same(await tunnel[end].process.kill('SIGTERM'), { code: 0, signal: null });
    });

    test(`${mode}: a draining ${end} lets open connections finish, takes no new ones, and exits with 0`, async (t) => {
      const { tunnel, application } = await startWithConnection(t, mode, end, '60s');
      const draining = tunnel[end].process;
      draining.child.kill('SIGTERM');
      await closedToNewOnes(t, tunnel);
      t.ok(await echoes(application, 'the open one goes on'));
      application.end('bye');
      t.equal((await receive(application, 3)).toString(), 'bye');
      t.equal(await ending(application), 'fin');
      t.same(await draining.end(), { code: 0, signal: null });
    });

    test(`${mode}: a ${end} that has to cut connections off exits with 1`, async (t) => {
      const { tunnel, application } = await startWithConnection(t, mode, end, '500ms');
      t.same(await tunnel[end].process.kill('SIGTERM'), { code: 1, signal: null });
      t.equal(await ending(application), 'reset');
    });

    test(`${mode}: a second signal ends a draining ${end} at once`, async (t) => {
      const { tunnel, application } = await startWithConnection(t, mode, end, '10m');
      const draining = tunnel[end].process;
      draining.child.kill('SIGTERM');
      await closedToNewOnes(t, tunnel);
      const { code, signal } = await draining.kill('SIGTERM');
      t.ok(signal === 'SIGTERM' || code !== 0, 'not as if it had drained');
      t.equal(await ending(application), 'reset');
    });
  }

test('SIGHUP takes over a changed file without dropping connections; a bad file changes nothing and is reported', async (t) => {
  const [first, second] = [await greeter(t, 'first'), await greeter(t, 'second')];
  const listenPort = await freePort();
  const stateDir = temporaryFolder(t);
  const file = join(stateDir, 'tunnels.yaml');
  const configure = (backend: number) =>
    writeFileSync(
      file,
      `tunnels:\n  web:\n    listen: "127.0.0.1:${listenPort}"\n    backend: "127.0.0.1:${backend}"\n    quic: true\n    state-dir: "${stateDir}"\n`,
    );
  configure(first);
  const server = startQtunnel(t, [`-conf=${file}`]);
  await server.event('listening');
  const { port, process: client } = await startClient(t, { mode: 'quic', server: listenPort });
  const old = await dial(t, port);
  t.equal((await receive(old, 5)).toString(), 'first');

  configure(second);
  server.child.kill('SIGHUP');
  await eventually(
    'new connections reach the new backend',
    async () => (await receive(await dial(t, port), 5)).toString() === 'secon',
  );
  t.ok(await echoes(old, 'the old connection goes on'));

  writeFileSync(file, 'tunnels:\n  web:\n    listne: ":1"\n');
  server.child.kill('SIGHUP');
  await server.line(/tunnels\.yaml.*listne/);
  t.equal((await receive(await dial(t, port), 6)).toString(), 'second');
  t.ok(await echoes(old, 'still there'));
  t.equal(client.events('link_down').length, 0, 'the link never went down');
});

test('a port that is taken is one sentence and exit 1', async (t) => {
  const taken = await echoServer(t);
  for (const role of [[], ['-clientmode']]) {
    const qtunnel = startQtunnel(t, [`-listen=127.0.0.1:${taken}`, ...role, `-state-dir=${temporaryFolder(t)}`, '-log-level=info']);
    t.equal((await qtunnel.end()).code, 1);
    t.match(qtunnel.lines.at(-1), new RegExp(`\\b${taken}\\b.*another program`));
    t.notMatch(qtunnel.output, /\n\s+at /, 'no stack trace');
  }
});

test('IPv6: [::1] at every place', async (t) => {
  const backend = await listen(t, (socket) => socket.pipe(socket), 0, '::1');
  const server = await startServer(t, { mode: 'quic', backend: `[::1]:${backend}`, listen: '[::1]:0' });
  const client = await startClient(t, { mode: 'quic', server: `[::1]:${server.port}`, listen: '[::1]:0' });
  t.ok(await echoes(await dial(t, client.port, '::1'), 'six'));
});

/** A tunnel to an echoing backend with one connection in it; `end` gets this drain time. */
async function startWithConnection(t: Test, mode: (typeof MODES)[number], end: End, drainTimeout: string) {
  const drain = `-drain-timeout=${drainTimeout}`;
  const tunnel: Tunnel = await startTunnel(t, mode, await echoServer(t), {
    serverFlags: end === 'server' ? [drain] : [],
    clientFlags: ['-dial-timeout=300ms', ...(end === 'client' ? [drain] : [])],
  });
  const application = await dial(t, tunnel.port);
  t.ok(await echoes(application, 'open'));
  return { tunnel, application };
}

/** Waits until a connection that comes now is refused or reset. */
async function closedToNewOnes(t: Test, { port }: Tunnel): Promise<void> {
  await eventually('new connections are refused or reset', async () => {
    const socket = await dial(t, port).catch(() => null);
    const carried = socket !== null && (await echoes(socket, 'new').catch(() => false));
    socket?.destroy();
    return !carried;
  });
}

/** Says its name at once, then echoes. */
function greeter(t: Test, name: string): Promise<number> {
  return listen(t, (socket) => {
    socket.write(name);
    socket.pipe(socket);
  });
}
