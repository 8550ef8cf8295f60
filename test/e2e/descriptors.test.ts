import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type Test, test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { missing } from '../support/programs.ts';
import { type Mode, startClient, startServer } from '../support/qtunnel.ts';
import { dial, echoes, echoServer } from '../support/tcp.ts';

const skip = missing('prlimit');
/** A server over TLS too, but its client gives up only after five seconds. */
const CASES: readonly (readonly [Mode, 'client' | 'server'])[] = [
  ['quic', 'client'],
  ['quic', 'server'],
  ['tls', 'client'],
];

for (const [mode, side] of CASES) {
  test(
    `${mode}: a ${side} that runs out of descriptors refuses new connections, keeps the old ones, and recovers`,
    { skip },
    async (t) => {
      const limited = (one: string) => (one === side ? { descriptors: LIMIT } : {});
      const server = await startServer(t, { mode, backend: await echoServer(t), ...limited('server') });
      const client = await startClient(t, { mode, server: server.port, stateDir: server.stateDir, ...limited('client') });
      const { port } = client;
      const tight = side === 'client' ? client.process : server.process;
      const old = await dial(t, port);
      t.ok(await echoes(old, 'before'));

      const crowd = Array.from({ length: LIMIT + 40 }, () => visitor(t, port));
      const shed = await tight.event('shed', { resource: 'descriptors' });
      t.match(shed.msg, /refused, open ones go on: the process may have 160 file descriptors.*ulimit -n.*LimitNOFILE/);
      await eventually('each was carried or refused', () => crowd.every(({ carried, refused }) => carried || refused));
      t.ok(
        crowd.some(({ carried }) => carried),
        'as many as there is room for',
      );
      t.ok(await echoes(old, 'during'));
      t.ok(tight.events('shed').length < 5, 'not a line for each');
      // What is kept back is enough for a reload.
      tight.child.kill('SIGHUP');
      await tight.event('reloaded');

      for (const { socket } of crowd) socket.destroy();
      await eventually('a new connection', () => works(t, port));
      t.ok(await echoes(old, 'after'));
      t.equal(tight.events('accept_failed').length, 0, 'the kernel never had to refuse one');
      t.equal(tight.events('failed').length, 0);
    },
  );
}

interface Visitor {
  readonly socket: Socket;
  carried: boolean;
  refused: boolean;
}

function visitor(t: Test, port: number): Visitor {
  const socket = connect({ port, host: '127.0.0.1' });
  t.teardown(() => socket.destroy());
  const state: Visitor = { socket, carried: false, refused: false };
  socket.on('data', () => (state.carried = true));
  socket.on('error', () => (state.refused = true)).on('close', () => (state.refused = true));
  socket.write('x');
  return state;
}

async function works(t: Test, port: number): Promise<boolean> {
  const { socket } = visitor(t, port);
  const answer = await Promise.race([
    once(socket, 'data').then(
      () => true,
      () => false,
    ),
    once(socket, 'close').then(
      () => false,
      () => false,
    ),
  ]);
  socket.destroy();
  return answer;
}

/** Node opens up to 130 at once when it loads modules; an idle process has 25. */
const LIMIT = 160;
