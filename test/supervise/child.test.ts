import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'tap';
import { startChild } from '../../src/supervise/child.ts';
import { forbidProcesses, NO_PROCESS } from '../support/no-process.ts';

for (const [reason, errno] of Object.entries(NO_PROCESS)) {
  void test(`no process can be made (${reason}): that is thrown, and nothing is told of it`, async (t) => {
    const allow = forbidProcesses(errno);
    t.teardown(allow);
    const told: unknown[] = [];
    const handler = { onMessage: (message: unknown) => told.push(message), onExit: (end: unknown) => told.push(end) };
    t.throws(() => startChild(handler as never), Error);
    await turn();
    await turn();
    t.strictSame(told, []);
  });
}
