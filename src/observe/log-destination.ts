import { closeSync, openSync } from 'node:fs';
import { QtunnelError } from '../errors.ts';
import { BackgroundWriter, FILE_MODE } from './background-writer.ts';
import { type Format, gapLine } from './log-gap.ts';
import { writeToStderr } from './standard-error.ts';
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
 * @param format for the lines that the destination itself adds.
 * @throws QtunnelError `FILE_UNWRITABLE`
 */
export function openDestination(logto: string, format: Format = (line) => line): LogDestination {
  if (logto === 'syslog') return openSyslog({ format });
  if (logto === 'stderr') return new StreamDestination(2, null, format);
  if (logto === 'stdout') return new StreamDestination(1, 'standard output', format);
  tryFile(logto);
  return new StreamDestination(logto, `the log file ${logto}`, format);
}

/**
 *     written ── the system refuses (a full disk) ──▶ failing: said once on standard error, lines go there; tried again each `RETRY_MS`
 *        ▲──────── written again, with a line that says how many are missing ─────────┘
 */
class StreamDestination implements LogDestination {
  lastLevel = 30;
  readonly #writer: BackgroundWriter;
  readonly #format: Format;
  /** For the line on standard error when it fails; null for standard error itself. */
  readonly #name: string | null;
  #failure: string | null = null;
  #retryAt = 0;
  /** Half a line stands there, which has to end before the next. */
  #isCut = false;
  /** Lines that are not there, and the line that is to say so. */
  #missing = 0;
  #note: { readonly text: string; readonly missing: number } | null = null;

  constructor(target: number | string, name: string | null, format: Format) {
    this.#name = name;
    this.#format = format;
    this.#writer = new BackgroundWriter(target, (text, error, isCut) => this.#fail(text, error, isCut));
  }

  write(line: string): void {
    if (this.#failure !== null && performance.now() < this.#retryAt) return this.#divert(line, 1);
    this.#failure = null;
    if (this.#missing > 0) this.#writeNote();
    if (!this.#writer.write(line)) this.#missing++;
  }

  reopen(): void {
    this.#failure = null;
    this.#writer.reopen();
  }

  async close(): Promise<void> {
    await this.#writer.close(LONGEST_CLOSE_MS);
  }

  #writeNote(): void {
    const missing = this.#missing;
    const text = (this.#isCut ? '\n' : '') + this.#format(gapLine(missing, this.#name === null ? '' : ELSEWHERE));
    if (!this.#writer.write(text)) return;
    this.#note = { text, missing };
    this.#missing = 0;
  }

  #fail(text: string, error: NodeJS.ErrnoException, isCut: boolean): void {
    const code = error.code ?? error.message;
    const note = this.#note;
    this.#note = null;
    let rest = text;
    if (note !== null && text.includes(note.text)) {
      rest = text.replace(note.text, '');
      this.#missing += note.missing;
    } else if (this.#name !== null && this.#missing === 0) {
      writeToStderr(`qtunnel: ${this.#name} cannot be written (${code}); logging to standard error until it can be\n`);
    }
    this.#isCut = isCut;
    this.#failure = code;
    this.#retryAt = performance.now() + RETRY_MS;
    this.#divert(rest, rest.split('\n').length - 1);
  }

  #divert(text: string, lines: number): void {
    this.#missing += lines;
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
/** Between attempts at a destination that fails. */
const RETRY_MS = 1000;
const ELSEWHERE = ', and went to standard error as far as that took them';
