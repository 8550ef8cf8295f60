import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import path from 'node:path';
import { QtunnelError } from '../errors.ts';
import type { LogDestination } from './log-destination.ts';
import { type Format, gapLine } from './log-gap.ts';
import { writeToStderr } from './standard-error.ts';

/**
 * Syslog through the program `logger`, which is fed the lines: Node cannot open the datagram socket that syslog listens on. A `logger`
 * that ends is started again, and what is logged without one goes to standard error.
 * What it does not take, up to 1 MiB, waits; the lines beyond that are counted, and the log says how many are missing.
 * @throws QtunnelError `FILE_UNWRITABLE` where there is no `logger`, or nobody listens.
 */
export function openSyslog({ program = 'logger', socket = '/dev/log', format = asItIs }: SyslogOptions = {}): LogDestination {
  const linux = process.platform === 'linux';
  if (!isInPath(program)) throw unwritable(`the program ${program} is not installed: install it (util-linux, bsdutils)`);
  if (linux && !existsSync(socket)) throw unwritable(`there is no ${socket} here: start a syslog daemon`);
  // Only util-linux's has these: the level of each line, no silent loss, and lines longer than 1 KiB.
  const features = linux ? ['--prio-prefix', '--socket-errors=on', '--size', '16384', '--socket', socket] : [];
  return new SyslogDestination([program, '-t', 'qtunnel', '-p', 'daemon.info', ...features], linux, format);
}

export interface SyslogOptions {
  readonly program?: string;
  readonly socket?: string;
  /** For the lines that the destination itself adds. */
  readonly format?: Format;
}

class SyslogDestination implements LogDestination {
  lastLevel = 30;
  readonly #command: readonly string[];
  readonly #prefixed: boolean;
  readonly #format: Format;
  /** Lines that were not written since the last one that was. */
  #missing = 0;
  #logger: ChildProcess | null;
  #startedAt = 0;
  #closing = false;

  constructor(command: readonly string[], prefixed: boolean, format: Format) {
    this.#command = command;
    this.#prefixed = prefixed;
    this.#format = format;
    this.#logger = this.#start();
  }

  write(line: string): void {
    if (this.#logger === null && !this.#closing && Date.now() - this.#startedAt >= RESTART_MS) this.#logger = this.#start();
    const pipe = this.#logger?.stdin;
    if (pipe == null || !pipe.writable) return writeToStderr(line);
    if (pipe.writableLength > MOST_WAITING) {
      this.#missing++;
      return;
    }
    if (this.#missing > 0) pipe.write(this.#prefix(this.#format(gapLine(this.#missing)), WARN));
    this.#missing = 0;
    pipe.write(this.#prefix(line, this.lastLevel));
  }

  #prefix(line: string, level: number): string {
    return this.#prefixed ? `<${DAEMON + severityOf(level)}>${line}` : line;
  }

  reopen(): void {}

  async close(): Promise<void> {
    this.#closing = true;
    const logger = this.#logger;
    if (logger === null) return;
    const ended = new Promise<void>((resolve) => logger.once('close', () => resolve()));
    const patience = setTimeout(() => logger.kill('SIGKILL'), LONGEST_CLOSE_MS);
    logger.stdin?.end();
    await ended;
    clearTimeout(patience);
  }

  /** Null when the system makes no process. */
  #start(): ChildProcess | null {
    const [program = '', ...options] = this.#command;
    this.#startedAt = Date.now();
    try {
      // In a process group of its own: a Ctrl-C must not take away the log of what follows from it.
      const logger = spawn(program, options, { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
      logger.on('error', () => this.#lost(logger));
      if (logger.pid !== undefined) return this.#watch(logger);
    } catch {
      // Some reasons are thrown, others are told later.
    }
    this.#say('cannot be started');
    return null;
  }

  #watch(logger: ChildProcess): ChildProcess {
    logger.unref();
    logger.stdin?.on('error', () => {});
    logger.on('exit', () => this.#lost(logger));
    return logger;
  }

  #lost(logger: ChildProcess): void {
    if (this.#logger !== logger || this.#closing) return;
    this.#logger = null;
    this.#say('ended');
  }

  #say(what: string): void {
    writeToStderr(`qtunnel: the program logger ${what}; logging to standard error until it runs again\n`);
  }
}

function isInPath(program: string): boolean {
  const folders = path.isAbsolute(program) ? [''] : (process.env['PATH'] ?? '').split(path.delimiter);
  return folders.some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function unwritable(why: string): QtunnelError {
  return new QtunnelError('FILE_UNWRITABLE', `-logto=syslog cannot be used, ${why}, or log elsewhere`);
}

/** pino's levels to RFC 5424's severities. */
function severityOf(level: number): number {
  if (level >= 60) return 2;
  if (level >= 50) return 3;
  if (level >= 40) return 4;
  return level >= 30 ? 6 : 7;
}

function asItIs(line: string): string {
  return line;
}

/** pino's. */
const WARN = 40;
/** Facility 3 of RFC 5424, in the place that it has in a priority. */
const DAEMON = 3 * 8;
const RESTART_MS = 1000;
const MOST_WAITING = 1024 * 1024;
const LONGEST_CLOSE_MS = 1000;
