import { setTimeout } from 'node:timers/promises';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { startTunnel, type Tunnel } from '../support/qtunnel.ts';
import { dial, echoes, echoServer } from '../support/tcp.ts';
import { waitingBytes } from '../support/waiting-bytes.ts';

const skip = process.platform !== 'linux' && 'what waits in a socket is looked up in /proc';
const IDLE_MS = 3_000;
const FLAGS = [`-idle-timeout=${IDLE_MS}ms`, '-keepalive=400ms'];
/** Both sides of a link over QUIC are held up in `test/quic/held-up.test.ts`. */
const CASES = [
  { mode: 'quic', held: 'server' },
  { mode: 'tls', held: 'client' },
] as const;

/** All at once: they mostly wait. */
test('who was stopped beyond the idle timeout hears what waits in his socket before he gives the peer up', { skip }, async (t) => {
  const backend = await echoServer(t);
  const flags = { clientFlags: FLAGS, serverFlags: FLAGS };
  const tunnels = await Promise.all(CASES.map(({ mode }) => startTunnel(t, mode, backend, flags)));
  await Promise.all(
    CASES.map(async ({ mode, held }, index) => {
      const tunnel = tunnels[index]!;
      const socket = await dial(t, tunnel.port);
      t.ok(await echoes(socket, 'before'));
      await holdUp(tunnel, held);
      t.ok(await echoes(socket, 'after'), `${mode}, ${held}: the connection goes on`);
      const { client, server } = tunnel;
      t.same([...client.process.events('link_down'), ...server.process.events('link_down')], [], `${mode}, ${held}`);
    }),
  );
});

/**
 * The other is stopped at first, so that the one has heard nothing for a while when it is stopped in its turn. What the other says when it goes on waits in the one's socket until that goes on too, beyond its idle
 * timeout. The other was heard from all the time as far as anybody can know.
 */
async function holdUp({ client, server }: Tunnel, held: 'client' | 'server'): Promise<void> {
  const [own, other] = held === 'client' ? [client.process, server.process] : [server.process, client.process];
  const began = performance.now();
  const until = (milliseconds: number) => setTimeout(Math.max(0, began + milliseconds - performance.now()));
  other.child.kill('SIGSTOP');
  await eventually('a question to the one that is stopped', () => waitingBytes(other.pid) > 0);
  await until(IDLE_MS / 2);
  own.child.kill('SIGSTOP');
  other.child.kill('SIGCONT');
  await eventually('its answer', () => waitingBytes(own.pid) > 0);
  await until(1.2 * IDLE_MS);
  own.child.kill('SIGCONT');
}
