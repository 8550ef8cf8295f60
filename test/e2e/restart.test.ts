import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { MODES, startClient, startServer, startTunnel } from '../support/qtunnel.ts';
import { dial, echoes, echoServer, ending } from '../support/tcp.ts';

const OPEN = 20;
/** A server that does not come back says nothing; this finds it out sooner than the default of 30 s. */
const QUICK_TO_NOTICE = ['-idle-timeout=2s', '-keepalive=300ms'];

for (const mode of MODES) {
  test(`${mode}: a server killed with -9 under load and started again`, async (t) => {
    const backend = await echoServer(t);
    const server = await startServer(t, { mode, backend, stateDir: temporaryFolder(t) });
    const { port, process: client } = await startClient(t, { mode, server: server.port });
    const sockets = await Promise.all(Array.from({ length: OPEN }, () => dial(t, port)));
    t.ok((await Promise.all(sockets.map((socket) => echoes(socket, 'open')))).every(Boolean));
    for (const socket of sockets) {
      socket.on('data', () => {});
      writeForEver(socket);
    }
    const seen = client.log.length;
    const [sameAddress, sameState] = [`127.0.0.1:${server.port}`, server.stateDir];
    await server.process.kill('SIGKILL');
    const again = await startServer(t, { mode, backend, listen: sameAddress, stateDir: sameState });
    t.equal(again.fingerprint, server.fingerprint, 'the certificate survives');

    t.same(new Set(await Promise.all(sockets.map(ending))), new Set(['reset']), 'what was open is reset');
    await client.event('link_down', { transport: mode }, { skip: seen });
    await client.event('link_up', { transport: mode }, { skip: seen });
    t.ok(await echoes(await dial(t, port), 'new connections work'));
  });

  test(`${mode}: while the server is away a new connection waits, and is carried when the server is back`, async (t) => {
    const backend = await echoServer(t);
    const { port, server, client } = await startTunnel(t, mode, backend, {
      clientFlags: ['-dial-timeout=30s', ...QUICK_TO_NOTICE],
    });
    await server.process.kill('SIGKILL');
    await client.process.event('link_down', { transport: mode });
    const waiting = await dial(t, port);
    const answer = echoes(waiting, 'patience');
    await startServer(t, { mode, backend, listen: `127.0.0.1:${server.port}`, stateDir: server.stateDir });
    t.ok(await answer);
  });

  test(`${mode}: while the server is away a new connection is reset after -dial-timeout`, async (t) => {
    const { port, server } = await startTunnel(t, mode, await echoServer(t), {
      clientFlags: ['-dial-timeout=500ms', ...QUICK_TO_NOTICE],
    });
    await server.process.kill('SIGKILL');
    await eventually('a reset', async () => (await ending(await dial(t, port))) === 'reset');
    t.equal(await ending(await dial(t, port)), 'reset');
  });
}

function writeForEver(socket: Awaited<ReturnType<typeof dial>>): void {
  const block = Buffer.alloc(64 * 1024);
  const fill = () => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', fill);
  fill();
}
