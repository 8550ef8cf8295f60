import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';

export interface JsonLinesHandler {
  /** The next one follows when the promise settles. Must not reject. */
  onMessage(message: unknown): void | Promise<void>;
  /** The other side says no more (`reason` empty), cut the stream off, or sent what is no line of JSON. Called once, last. */
  onEnd(reason: string, code: ResetReason | null): void;
}

/** A stream as a conversation: each side sends lines of JSON, at most `LONGEST` bytes each. Call `onReadable` when the handler is ready to be called. */
export class JsonLines implements StreamHandler {
  readonly #stream: LinkStream;
  readonly #handler: JsonLinesHandler;
  readonly #input = Buffer.allocUnsafeSlow(INPUT);
  /** A line of which the end is missing. */
  #rest: Buffer[] = [];
  #restLength = 0;
  /** Lines that wait until the handler is done with the one before. */
  readonly #lines: string[] = [];
  #output: Buffer[] = [];
  #busy = false;
  /** Whether this side says, and hears, no more. What the other side still sends is read and dropped. */
  #over = false;
  /** Whether the stream is gone. */
  #dead = false;

  constructor(stream: LinkStream, handler: JsonLinesHandler) {
    this.#stream = stream;
    this.#handler = handler;
    stream.handler = this;
  }

  /** Whether the conversation goes on. */
  get isOpen(): boolean {
    return !this.#over;
  }

  send(message: object): void {
    if (this.#over) return;
    this.#output.push(Buffer.from(`${JSON.stringify(message)}\n`));
    this.onWritable();
  }

  /** Says no more, once everything has been said. The handler is not called any more. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#lines.length = 0;
    if (this.#output.length === 0) this.#stream.end();
  }

  /** Ends the stream, whatever either side still has to say. The handler is not called any more. */
  cut(reason: ResetReason, message: string): void {
    this.#over = true;
    this.#lines.length = 0;
    if (this.#dead) return;
    this.#dead = true;
    this.#stream.reset(reason, message);
  }

  onReadable(): void {
    while (!this.#busy && !this.#dead) {
      const n = this.#stream.read(this.#input);
      if (n === NOTHING_YET) return;
      if (n === END) return this.#handleEnd();
      if (this.#over) continue;
      if (!this.#take(this.#input.subarray(0, n))) return this.#fail('a line of the other side is too long');
      if (this.#lines.length > 0) void this.#handleLines();
    }
  }

  onWritable(): void {
    for (let first = this.#output[0]; first !== undefined && !this.#dead; first = this.#output[0]) {
      const taken = this.#stream.write(first);
      if (taken < first.length) {
        this.#output[0] = first.subarray(taken);
        if (this.#output.reduce((sum, { length }) => sum + length, 0) > MOST_WAITING) this.#fail('the other side does not listen');
        return;
      }
      this.#output.shift();
    }
    if (this.#over && !this.#dead) this.#stream.end();
  }

  onReset(reason: ResetReason, message: string): void {
    this.#die(message === '' ? reason : message, reason);
  }

  /** False for a line that is too long. */
  #take(bytes: Buffer): boolean {
    let from = 0;
    for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, from)) {
      this.#lines.push(Buffer.concat([...this.#rest, bytes.subarray(from, at)]).toString());
      this.#rest = [];
      this.#restLength = 0;
      from = at + 1;
    }
    if (from === bytes.length) return true;
    this.#rest.push(Buffer.from(bytes.subarray(from)));
    this.#restLength += bytes.length - from;
    return this.#restLength <= LONGEST;
  }

  async #handleLines(): Promise<void> {
    this.#busy = true;
    for (let line = this.#lines.shift(); line !== undefined && !this.#over; line = this.#lines.shift()) {
      const message = parse(line);
      if (message === undefined) {
        this.#fail('the other side sent what is not JSON');
        break;
      }
      await this.#handler.onMessage(message);
    }
    this.#busy = false;
    this.onReadable();
  }

  #handleEnd(): void {
    this.#dead = true;
    if (this.#over) return;
    this.#over = true;
    this.#stream.end();
    this.#handler.onEnd('', null);
  }

  #fail(reason: string): void {
    this.#stream.reset('PROTOCOL', reason);
    this.#die(reason, 'PROTOCOL');
  }

  #die(reason: string, code: ResetReason): void {
    this.#dead = true;
    if (this.#over) return;
    this.#over = true;
    this.#lines.length = 0;
    this.#handler.onEnd(reason, code);
  }
}

/** Undefined for what is not JSON. */
function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

const NEWLINE = 0x0a;
const INPUT = 16_384;
/** Bytes of a line. */
export const LONGEST = 128 * 1024;
/** Bytes for a peer that does not read. */
const MOST_WAITING = 1024 * 1024;
