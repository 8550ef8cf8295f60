import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { residentBytes } from './processes.ts';

/** The environment of processes that `residentWithoutGarbage` is to be asked about. */
export const COLLECTABLE = { NODE_OPTIONS: `--import=${pathToFileURL('build/test/support/collect-at-signal.js').href}` };

/**
 * Bytes of memory that a process holds when its garbage has been collected (RSS; Linux). Without that, V8 lets tens of MB pile up before it looks, more or less of it at
 * any moment.
 */
export async function residentWithoutGarbage(pid: number): Promise<number> {
  let least = Infinity;
  for (let time = 0; time < TIMES; time++) {
    process.kill(pid, 'SIGWINCH');
    await sleep(PAUSE_MS);
    least = Math.min(least, residentBytes([pid]));
  }
  return least;
}

/** What finalizers free is gone with the next one. */
const TIMES = 5;
const PAUSE_MS = 500;
