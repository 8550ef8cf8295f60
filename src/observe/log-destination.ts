import { closeSync, openSync, writeSync } from 'node:fs';
import { pino } from 'pino';
import { QtunnelError } from '../errors.ts';
import { openSyslog } from './syslog.ts';

/** Where the log's lines go. No method throws. */
export interface LogDestination {
  /** The level of the line that `write` is called with next, in pino's numbers; pino sets it. */
  lastLevel: number;
  write(line: string): void;
  reopen(): void;
  close(): Promise<void>;
}

/**
 * @param logto `stdout`, `stderr`, `syslog`, or a file's path; a file is created with mode 0640.
 * @throws QtunnelError `FILE_UNWRITABLE`
 */
export function openDestination(logto: string): LogDestination {
  if (logto === 'syslog') return openSyslog();
  if (logto === 'stderr') return new StreamDestination(2, null);
  if (logto === 'stdout') return new StreamDestination(1, 'standard output');
  tryFile(logto);
  return new StreamDestination(logto, `the log file ${logto}`);
}

/** Last resort: what cannot be written there either is lost. */
export function writeToStderr(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // A closed or full standard error must not end the process.
  }
}

/**
 * Writes in the background: a terminal, pipe or disk that does not take the lines holds up nobody, and beyond `MOST_WAITING` bytes
 * the lines are dropped.
 */
class StreamDestination implements LogDestination {
  lastLevel = 30;
  readonly #stream;
  readonly #isFile: boolean;
  /** For the line on standard error when it fails; null for standard error itself. */
  readonly #name: string | null;
  #failed = false;

  constructor(dest: number | string, name: string | null) {
    this.#name = name;
    this.#isFile = typeof dest === 'string';
    this.#stream = pino.destination({ dest, sync: false, mode: FILE_MODE, maxLength: MOST_WAITING });
    this.#stream.on('error', (error: Error) => this.#fail(error));
  }

  write(line: string): void {
    if (!this.#failed) this.#stream.write(line);
    else if (this.#name !== null) writeToStderr(line);
  }

  reopen(): void {
    if (!this.#isFile) return;
    this.#failed = false;
    this.#stream.reopen();
  }

  async close(): Promise<void> {
    if (this.#failed) return this.#stream.destroy();
    const closed = new Promise<void>((resolve) => this.#stream.once('close', resolve).once('error', () => resolve()));
    const patience = setTimeout(() => this.#stream.destroy(), LONGEST_CLOSE_MS);
    this.#stream.end();
    await closed;
    clearTimeout(patience);
  }

  #fail(error: NodeJS.ErrnoException): void {
    if (!this.#failed && this.#name !== null) {
      const code = error.code ?? error.message;
      writeToStderr(`qtunnel: ${this.#name} cannot be written (${code}); logging to standard error until SIGHUP\n`);
    }
    this.#failed = true;
  }
}

/** Opens and closes the file, so that what is wrong with it is known before anything starts. */
function tryFile(file: string): void {
  try {
    closeSync(openSync(file, 'a', FILE_MODE));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new QtunnelError('FILE_UNWRITABLE', `-logto: the log file ${file} cannot be written (${code}): name another, or stderr`, {
      cause,
    });
  }
}

const FILE_MODE = 0o640;
const MOST_WAITING = 4 * 1024 * 1024;
const LONGEST_CLOSE_MS = 1000;
