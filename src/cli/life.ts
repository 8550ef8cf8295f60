import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Configuration } from '../config/load.ts';
import type { ProcessSettings, TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import type { Log } from '../observe/log.ts';
import type { ServiceManager } from '../service/notify.ts';
import type { Running } from '../tunnel/run.ts';
import { EXIT, type ExitCode } from './exit.ts';

export type Signals = Pick<NodeJS.EventEmitter, 'on' | 'off'>;

export interface Life<Settings = TunnelSettings> {
  readonly log: Log;
  /** Reads the configuration again, for SIGHUP. @throws QtunnelError */
  readonly load: () => Loaded<Settings> | Promise<Loaded<Settings>>;
  readonly current: ProcessSettings;
  /** Where signals come from: `process`. */
  readonly signals: Signals;
  /** Is told when this begins and when it is about to end; left out where somebody else tells it. */
  readonly manager?: ServiceManager;
}

type Loaded<Settings> = Pick<Configuration, 'process' | 'warnings'> & { readonly tunnels: readonly Settings[] };

/**
 * Lets tunnels run until a signal or a failure ends them:
 *
 *     running ── SIGTERM, SIGINT ──▶ draining ── all ended ──▶ 0
 *        │                              └── too late, or a second signal ──▶ 1
 *        ├── SIGHUP ──▶ running, with new settings if they are good
 *        └── failure ──▶ 1
 */
export async function untilStopped<Settings>(running: Running<Settings>, life: Life<Settings>): Promise<ExitCode> {
  const { signals } = life;
  let end!: (code: ExitCode) => void;
  const ended = new Promise<ExitCode>((resolve) => (end = resolve));
  const reload = serially(() => reloadFrom(running, life));
  const crash = (error: unknown) => end(failed(life, error));
  let draining = false;
  const stop = (signal: string) => {
    if (draining) {
      life.log.log.warn({ event: 'cut_off', signal }, 'ending at once');
      return end(EXIT.FAILED);
    }
    draining = true;
    life.manager?.stopping();
    drain(running, life, signal).then(end, crash);
  };
  for (const signal of STOP) signals.on(signal, stop);
  const refuseUpgrade = () => life.log.log.warn({ event: 'warning' }, NO_SUPERVISOR);
  signals.on('SIGHUP', reload);
  signals.on('SIGUSR2', refuseUpgrade);
  signals.on('uncaughtException', crash);
  running.failed.then(crash, crash);
  life.manager?.ready();
  try {
    return await ended;
  } finally {
    await Promise.race([running.close(), patience()]);
    for (const signal of STOP) signals.off(signal, stop);
    signals.off('SIGHUP', reload);
    signals.off('SIGUSR2', refuseUpgrade);
    signals.off('uncaughtException', crash);
  }
}

async function patience(): Promise<void> {
  await setTimeout(LONGEST_CLOSE_MS, undefined, { ref: false });
}

async function drain<S>(running: Running<S>, { log: { log } }: Life<S>, signal: string): Promise<ExitCode> {
  log.info({ event: 'stopping', signal }, 'stopping: no new connections, waiting for the open ones; a second signal ends at once');
  const drained = await running.drain();
  if (drained) log.info({ event: 'stopped', drained }, 'stopped: all connections had ended');
  else log.warn({ event: 'stopped', drained }, 'stopped: connections were still open after -drain-timeout and were cut off');
  return drained ? EXIT.OK : EXIT.FAILED;
}

/** A bad file changes nothing: it is read and checked as a whole before anybody is told of it. */
async function reloadFrom<S>(running: Running<S>, { log: { log, reopen }, load, current }: Life<S>): Promise<void> {
  reopen();
  try {
    const { tunnels, process: ofProcess, warnings } = await load();
    await running.reload(tunnels);
    for (const warning of warnings) log.warn({ event: 'warning' }, warning);
    log.level = ofProcess.logLevel;
    const waiting = needingRestart(current, ofProcess);
    if (waiting.length > 0) log.warn({ event: 'warning' }, `${waiting.join(', ')} changed; that takes effect after a restart`);
    log.info({ event: 'reloaded' }, 'configuration read again');
  } catch (err) {
    log.error(
      { event: 'reload_failed', err },
      `the configuration stays as it was: ${err instanceof Error ? err.message : String(err)}`,
    );
  }
}

function needingRestart(before: ProcessSettings, now: ProcessSettings): string[] {
  return [
    ...(isDeepStrictEqual(before.metrics, now.metrics) ? [] : ['metrics']),
    ...(before.workers === now.workers ? [] : ['workers']),
    ...(before.maxMemory === now.maxMemory ? [] : ['max-memory']),
    ...(before.supervise === now.supervise ? [] : ['supervise']),
    ...(before.hangTimeout === now.hangTimeout ? [] : ['hang-timeout']),
    ...(before.logto === now.logto ? [] : ['logto']),
    ...(before.logFormat === now.logFormat ? [] : ['log-format']),
  ];
}

function failed({ log: { log } }: Pick<Life, 'log'>, err: unknown): ExitCode {
  log.error({ event: 'failed', err }, err instanceof QtunnelError ? err.message : 'a tunnel cannot go on');
  return EXIT.FAILED;
}

/** One after another: signals may come faster than files are read. Further calls while one waits come to nothing. */
function serially(task: () => Promise<void>): () => void {
  let last = Promise.resolve();
  let waiting = 0;
  return () => {
    if (waiting > 1) return;
    waiting++;
    last = last.then(task).finally(() => waiting--);
  };
}

const LONGEST_CLOSE_MS = 1000;
const NO_SUPERVISOR = 'SIGUSR2 does nothing here: with -supervise it hands over to a new process';
const STOP = ['SIGTERM', 'SIGINT'] as const;
