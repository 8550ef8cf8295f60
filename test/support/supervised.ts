import type { Test } from 'tap';
import type { Qtunnel } from './qtunnel.ts';

/** Has a test end a supervisor together with its children: without their supervisor they would drain, which takes too long. */
export function endWithChildren(t: Test, supervisor: Qtunnel): void {
  t.teardown(() => {
    supervisor.child.kill('SIGKILL');
    for (const { pid } of supervisor.events('child_started')) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  });
}

/** The process id of the child that was started last. */
export function childOf(supervisor: Qtunnel): number {
  return Number(supervisor.events('child_started').at(-1)?.['pid']);
}
