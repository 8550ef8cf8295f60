import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { test, type Test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { startClient, startServer } from '../support/qtunnel.ts';
import { childOf, endWithChildren } from '../support/supervised.ts';
import { onLinux } from '../support/workers.ts';
import { dial, echoes, echoServer, ending } from '../support/tcp.ts';

for (const [mode, side, turns, flags] of [
  ['quic', 'server', ['first', 'second'], []],
  ['quic', 'server', ['only'], ['-workers=2']],
  ['tls', 'server', ['only'], []],
  ['quic', 'client', ['only'], []],
] as const) {
  const what = [mode, side, ...flags].join(' ');
  test(
    `${what}: SIGUSR2 in the midst of a transfer and with connections coming and going`,
    flags.length > 0 ? onLinux : {},
    async (t) => {
      const backend = await echoServer(t);
      const flagsFor = (which: string): string[] => ['-fallback=false', ...(which === side ? ['-supervise', ...flags] : [])];
      const server = await startServer(t, { mode, backend, flags: flagsFor('server') });
      const client = await startClient(t, { mode, server: server.port, flags: flagsFor('client') });
      const upgraded = { server, client }[side].process;
      endWithChildren(t, upgraded);
      const visitors = keepVisiting(t, client.port);
      for (const turn of turns) {
        const transfer = startTransfer(await dial(t, client.port));
        await eventually('bytes have come', () => transfer.received() > 0);
        const before = childOf(upgraded);
        upgraded.child.kill('SIGUSR2');
        await upgraded.event('upgraded', { before });
        const [received, visits] = [transfer.received(), visitors.done()];
        await eventually('both go on', () => transfer.received() > received + 1_000_000 && visitors.done() > visits + 5);
        t.same(
          upgraded.events('child_left').filter(({ pid }) => pid === before),
          [],
          'the process before drains',
        );
        t.ok(await transfer.end(), `the ${turn} transfer is whole`);
        await upgraded.event('child_left', { pid: before, code: 0 });
      }
      const visits = visitors.done();
      await eventually('the last process serves', () => visitors.done() > visits + 5);
      t.same(await visitors.end(), [], 'no visitor was turned away');
      upgraded.child.kill('SIGTERM');
      t.equal((await upgraded.end()).code, 0);
    },
  );
}

/** Sends blocks that differ until it is ended, and reads what comes back. */
function startTransfer(socket: Socket) {
  const [sent, back] = [createHash('sha256'), createHash('sha256')];
  let received = 0;
  let isEnding = false;
  const block = Buffer.alloc(65_536);
  const writing = (async () => {
    for (let number = 0; !isEnding; number++) {
      block.writeUInt32LE(number);
      sent.update(block);
      const room = socket.write(Buffer.from(block));
      // Slowly: what is tested is that it lasts.
      do await setTimeout(5);
      while (!room && socket.writableNeedDrain);
    }
    socket.end();
  })();
  const reading = (async () => {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      back.update(chunk);
      received += chunk.length;
    }
  })();
  return {
    received: () => received,
    /** Whether every byte has come back. */
    end: async (): Promise<boolean> => {
      isEnding = true;
      await Promise.all([writing, reading]);
      return sent.digest('hex') === back.digest('hex');
    },
  };
}

/** Makes one short connection after another until it is ended. */
function keepVisiting(t: Test, port: number) {
  const failures: string[] = [];
  let done = 0;
  let isOver = false;
  const visiting = (async () => {
    while (!isOver) {
      try {
        const socket = await dial(t, port);
        if (!(await echoes(socket, `visit ${done}`))) failures.push('something else came back');
        socket.end();
        if ((await ending(socket)) !== 'fin') failures.push('reset at the end');
      } catch (error) {
        failures.push((error as Error).message);
      }
      done++;
      await setTimeout(10);
    }
  })();
  return {
    done: () => done,
    /** What went wrong. */
    end: async (): Promise<string[]> => {
      isOver = true;
      await visiting;
      return failures;
    },
  };
}
