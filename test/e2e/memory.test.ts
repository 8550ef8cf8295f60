import { connect } from 'node:net';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { HOG } from '../support/hog.ts';
import { type Mode, type Qtunnel, startClient, startServer } from '../support/qtunnel.ts';
import { dial, echoes, echoServer } from '../support/tcp.ts';

const CASES: readonly (readonly [Mode, 'client' | 'server'])[] = [
  ['quic', 'client'],
  ['quic', 'server'],
  ['tls', 'server'],
];

for (const [mode, side] of CASES) {
  test(`${mode}: a ${side} near -max-memory refuses what is new, keeps the old ones, and recovers`, async (t) => {
    const limited = (one: string) => (one === side ? { flags: ['-max-memory=256M'], preload: HOG } : {});
    const server = await startServer(t, { mode, backend: await echoServer(t), ...limited('server') });
    const client = await startClient(t, { mode, server: server.port, stateDir: server.stateDir, ...limited('client') });
    const tight = side === 'client' ? client.process : server.process;
    const old = await dial(t, client.port);
    t.ok(await echoes(old, 'before'));

    hog(tight);
    await eventually('a connection that is refused', async () => !(await works(client.port)));
    const shed = await tight.event('shed', { resource: 'memory' });
    t.match(shed.msg, /refused, open ones go on: the process has \d+M of the 256M of memory.*-max-memory/);
    t.ok(await echoes(old, 'during'));
    if (side === 'server') {
      const reset = await client.process.event('stream_reset', { reason: 'RESOURCE' });
      t.match(reset.msg, /the server has no room: the process has .*-max-memory/, 'the client says whose memory it is');
      const next = await startClient(t, { mode, server: server.port, waitForLink: false });
      const refusal = await next.process.event('link_failed', { code: 'SERVER_BUSY' });
      t.match(refusal['reason'], /The server has no room: .*-max-memory/);
      t.match(await server.process.event('handshake_failed', { code: 'SERVER_BUSY' }), { level: 'warn' });
    }

    hog(tight);
    await eventually('a connection that works', () => works(client.port));
    t.ok(await echoes(old, 'after'));
    t.ok(tight.events('shed').length < 5, 'not a line for each');
    t.equal(tight.events('failed').length, 0);
  });
}

function hog({ pid }: Qtunnel): void {
  process.kill(pid, 'SIGWINCH');
}

/** Whether a new connection carries a byte there and back. */
function works(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const end = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.on('data', () => end(true));
    socket.on('error', () => end(false)).on('close', () => end(false));
    socket.write('x');
  });
}
