import { close, open, write } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

/** What could not be written, and why; `isCut` when the end of what was written before it is no end of a line. */
export type OnFailure = (text: string, error: NodeJS.ErrnoException, isCut: boolean) => void;

/**
 * Writes text in order to a descriptor or a file, in the background: a terminal, pipe or disk that does not take it holds up nobody.
 * Beyond `MOST_WAITING` characters text is not taken.
 *
 * Lines gather while a write is under way and go out with the next one. A reopening takes place between two writes.
 */
export class BackgroundWriter {
  readonly #target: number | string;
  readonly #onFailure: OnFailure;
  /** -1 until the file is open. */
  #descriptor: number;
  #waiting: string[] = [];
  #length = 0;
  #stale = false;
  #working: Promise<void> | null = null;
  /** Of the text that is being written. */
  #rest: Uint8Array = NOTHING;
  #isCut = false;

  constructor(target: number | string, onFailure: OnFailure) {
    this.#target = target;
    this.#onFailure = onFailure;
    this.#descriptor = typeof target === 'number' ? target : -1;
  }

  /** Whether it was taken. */
  write(text: string): boolean {
    if (this.#length + text.length > MOST_WAITING) return false;
    this.#waiting.push(text);
    this.#length += text.length;
    this.#work();
    return true;
  }

  /** A file's name may mean another file by now: the text that still waits goes there. */
  reopen(): void {
    this.#stale = typeof this.#target === 'string';
    this.#work();
  }

  /** Resolves when everything is written, or after `patience` milliseconds. */
  async close(patience: number): Promise<void> {
    const late = new AbortController();
    await Promise.race([this.#working, setTimeout(patience, undefined, { signal: late.signal }).catch(() => {})]);
    late.abort();
    if (this.#working === null) await this.#closeFile();
  }

  #work(): void {
    this.#working ??= this.#empty().finally(() => (this.#working = null));
  }

  async #empty(): Promise<void> {
    // Lets the lines of this turn gather.
    await Promise.resolve();
    while (this.#waiting.length > 0 || this.#stale) {
      const text = this.#waiting.join('');
      this.#waiting = [];
      this.#length = 0;
      // oxlint-disable-next-line no-await-in-loop -- the order of the lines
      await this.#writeOut(text).catch((error: NodeJS.ErrnoException) =>
        this.#onFailure(Buffer.from(this.#rest).toString(), error, this.#isCut),
      );
    }
  }

  async #writeOut(text: string): Promise<void> {
    this.#rest = Buffer.from(text);
    const stale = this.#stale;
    this.#stale = false;
    if (stale || this.#descriptor === -1) await this.#openFile();
    while (this.#rest.length > 0) {
      // oxlint-disable-next-line no-await-in-loop -- the order of the bytes
      const written = await this.#writeSome(this.#rest);
      if (written > 0) this.#isCut = this.#rest[written - 1] !== NEWLINE;
      this.#rest = this.#rest.subarray(written);
    }
  }

  /** When it cannot be opened, the one that is open stays. */
  async #openFile(): Promise<void> {
    if (typeof this.#target === 'number') return;
    const fresh = await openFile(this.#target, 'a', FILE_MODE);
    await this.#closeFile();
    this.#descriptor = fresh;
    this.#isCut = false;
  }

  async #writeSome(bytes: Uint8Array): Promise<number> {
    try {
      return (await writeBytes(this.#descriptor, bytes)).bytesWritten;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await setTimeout(RETRY_MS);
      return 0;
    }
  }

  async #closeFile(): Promise<void> {
    if (typeof this.#target === 'number' || this.#descriptor === -1) return;
    const descriptor = this.#descriptor;
    this.#descriptor = -1;
    await closeFile(descriptor);
  }
}

export const FILE_MODE = 0o640;

const openFile = promisify(open);
const writeBytes = promisify(write) as unknown as (descriptor: number, bytes: Uint8Array) => Promise<{ bytesWritten: number }>;
const closeFile = promisify(close);
const MOST_WAITING = 4 * 1024 * 1024;
const RETRY_MS = 20;
const NEWLINE = 10;
const NOTHING = new Uint8Array(0);
