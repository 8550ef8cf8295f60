import { closeSync, openSync, writeSync } from 'node:fs';
import { QtunnelError } from '../errors.ts';
import { BackgroundWriter, FILE_MODE } from './background-writer.ts';
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

class StreamDestination implements LogDestination {
  lastLevel = 30;
  readonly #writer: BackgroundWriter;
  /** For the line on standard error when it fails; null for standard error itself. */
  readonly #name: string | null;
  #failed = false;

  constructor(target: number | string, name: string | null) {
    this.#name = name;
    this.#writer = new BackgroundWriter(target, (text, error) => this.#fail(text, error));
  }

  write(line: string): void {
    if (this.#failed) this.#divert(line);
    else this.#writer.write(line);
  }

  reopen(): void {
    this.#failed = false;
    this.#writer.reopen();
  }

  async close(): Promise<void> {
    await this.#writer.close(LONGEST_CLOSE_MS);
  }

  #fail(text: string, error: NodeJS.ErrnoException): void {
    if (!this.#failed && this.#name !== null) {
      const code = error.code ?? error.message;
      writeToStderr(`qtunnel: ${this.#name} cannot be written (${code}); logging to standard error until SIGHUP\n`);
    }
    this.#failed = true;
    this.#divert(text);
  }

  #divert(text: string): void {
    if (this.#name !== null) writeToStderr(text);
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

const LONGEST_CLOSE_MS = 1000;
