import { MessageChannel } from 'node:worker_threads';
import { test } from 'tap';
import type { Test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { CallPort, type Services } from '../../src/workers/calls.ts';

interface Theirs extends Services {
  double(n: number): Promise<number>;
  fail(n: null): void;
  never(n: null): Promise<void>;
}

function pair(t: Test): { caller: CallPort<Theirs, Services>; told: number[] } {
  const { port1, port2 } = new MessageChannel();
  const told: number[] = [];
  const caller = new CallPort<Theirs, Services>(port1, {});
  const theirs: Theirs = {
    double: async (n) => {
      told.push(n);
      return 2 * n;
    },
    fail: () => {
      throw new QtunnelError('LISTEN_FAILED', 'No room.', { cause: new Error('EADDRINUSE') });
    },
    never: () => new Promise(() => {}),
  };
  const callee = new CallPort<Services, Theirs>(port2, theirs);
  t.teardown(() => {
    caller.close(new QtunnelError('SHUTTING_DOWN', 'The test is over.'));
    callee.close(new QtunnelError('SHUTTING_DOWN', 'The test is over.'));
  });
  return { caller, told };
}

test('answers find their calls', async (t) => {
  const { caller, told } = pair(t);
  caller.tell('double', 1);
  t.same(await Promise.all([caller.call('double', 2), caller.call('double', 3)]), [4, 6]);
  t.same(told, [1, 2, 3]);
});

test('an error comes back with its code, its sentence, its cause and its stack', async (t) => {
  const { caller } = pair(t);
  const error = await caller.call('fail', null).catch((caught: unknown) => caught as QtunnelError);
  t.type(error, QtunnelError);
  t.match(error, { code: 'LISTEN_FAILED', message: 'No room.', cause: { message: 'EADDRINUSE' } });
  t.match((error as QtunnelError).stack, /calls\.test/);
});

test('when the other side is gone, what waits fails, and what comes later', async (t) => {
  const { caller } = pair(t);
  const waiting = caller.call('never', null);
  caller.close(new QtunnelError('INTERNAL', 'Gone.'));
  await t.rejects(waiting, { message: 'Gone.' });
  await t.rejects(caller.call('double', 1), { message: 'Gone.' });
  t.doesNotThrow(() => caller.tell('double', 1));
});
