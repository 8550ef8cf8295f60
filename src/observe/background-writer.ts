import { close, open, write } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

/** A line that could not be written, and why. */
export type OnFailure = (text: string, error: NodeJS.ErrnoException) => void;

/**
 * Writes text in order to a descriptor or a file, in the background: a terminal, pipe or disk that does not take it holds up nobody.
 * Beyond `MOST_WAITING` characters text is dropped.
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

  constructor(target: number | string, onFailure: OnFailure) {
    this.#target = target;
    this.#onFailure = onFailure;
    this.#descriptor = typeof target === 'number' ? target : -1;
  }

  write(text: string): void {
    if (this.#length + text.length > MOST_WAITING) return;
    this.#waiting.push(text);
    this.#length += text.length;
    this.#work();
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
      await this.#writeOut(text).catch((error: NodeJS.ErrnoException) => this.#onFailure(text, error));
    }
  }

  async #writeOut(text: string): Promise<void> {
    const stale = this.#stale;
    this.#stale = false;
    if (stale) await this.#closeFile();
    if (this.#descriptor === -1) this.#descriptor = await openFile(String(this.#target), 'a', FILE_MODE);
    let rest: Uint8Array = Buffer.from(text);
    // oxlint-disable-next-line no-await-in-loop -- the order of the bytes
    while (rest.length > 0) rest = rest.subarray(await this.#writeSome(rest));
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
