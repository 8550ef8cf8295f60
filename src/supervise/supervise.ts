import type { ExitCode } from '../cli/exit.ts';
import type { ProcessSettings } from '../config/settings.ts';
import { createLog } from '../observe/log.ts';
import type { ServiceManager } from '../service/notify.ts';
import { startChild } from './child.ts';
import { Supervisor } from './supervisor.ts';

/**
 * Runs the command in a child process for as long as it should run.
 * @param words the command line without the program's name. It goes to children over a pipe: what they are started with, others can read.
 * @param manager is told when the first child works, and when it is about to end.
 * @throws QtunnelError `FILE_UNWRITABLE` when the log cannot be opened.
 */
export async function supervise(words: readonly string[], settings: ProcessSettings, manager: ServiceManager): Promise<ExitCode> {
  const log = await createLog(settings);
  const supervisor = new Supervisor({
    words,
    hangTimeout: settings.hangTimeout,
    log: log.log,
    start: startChild,
    random: Math.random,
    onReady: () => manager.ready(),
  });
  const stop = (signal: NodeJS.Signals): void => {
    manager.stopping();
    supervisor.stop(signal);
  };
  const reload = (): void => {
    log.reopen();
    supervisor.reload();
  };
  for (const signal of STOP) process.on(signal, stop);
  const upgrade = (): void => supervisor.upgrade();
  process.on('SIGHUP', reload);
  process.on('SIGUSR2', upgrade);
  try {
    return await supervisor.ended;
  } finally {
    for (const signal of STOP) process.off(signal, stop);
    process.off('SIGHUP', reload);
    process.off('SIGUSR2', upgrade);
    await log.close();
  }
}

const STOP = ['SIGTERM', 'SIGINT'] as const;
