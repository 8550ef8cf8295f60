import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Piscina } from 'piscina';
import { QtunnelError } from '../errors.ts';
import type * as tasks from './worker.ts';

type Tasks = typeof tasks;

/**
 * Runs one of worker.ts's functions on the identity thread, which starts with the first task and ends when it has been idle for a while.
 * It keeps the process alive while it works, and only then.
 * @throws QtunnelError `INTERNAL` when the task fails; the arguments are to be checked before.
 */
export async function runInWorker<Name extends keyof Tasks>(
  name: Name,
  input: Parameters<Tasks[Name]>[0],
): Promise<ReturnType<Tasks[Name]>> {
  try {
    pool ??= createPool();
    return await (await pool).run(input, { name });
  } catch (cause) {
    throw new QtunnelError('INTERNAL', `The task ${name} failed on its thread: ${(cause as Error).message}.`, { cause });
  }
}

/** Ends the identity thread at once; a task that is still running fails. The next task starts it again. */
export async function closeWorkers(): Promise<void> {
  const closing = pool;
  pool = null;
  await (await closing)?.destroy();
}

/** Where the thread's code is: beside this file and with the same extension, since tsc does not rewrite file names in a `new URL`. */
export function workerUrl(): URL {
  return new URL(`worker${extname(fileURLToPath(import.meta.url))}`, import.meta.url);
}

let pool: Promise<Piscina> | null = null;

/** piscina is loaded here so that programs that need no thread do not load it. */
async function createPool(): Promise<Piscina> {
  const { Piscina } = await import('piscina');
  return new Piscina({
    filename: workerUrl().href,
    minThreads: 0,
    maxThreads: MOST_THREADS,
    idleTimeout: IDLE_TIMEOUT_MS,
    execArgv: [],
  });
}

/** For the secrets of many clients; stretching one takes 0.2 s and 64 MiB. */
const MOST_THREADS = Math.min(4, availableParallelism());
const IDLE_TIMEOUT_MS = 2_000;
