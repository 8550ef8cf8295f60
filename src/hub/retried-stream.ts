import { type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';

/** A stream to another agent in the place of one that was refused; null when there is none. */
export type NextStream = (reason: ResetReason, message: string) => LinkStream | null;

/**
 * A stream to one of several agents. What is written is kept until the target has said something, or there is more than `MOST_KEPT` of it: when the agent cannot
 * dial the target, the stream to the next one is told the same.
 */
export class RetriedStream implements LinkStream, StreamHandler {
  handler: StreamHandler = NOBODY;
  #stream: LinkStream;
  readonly #next: NextStream;
  /** What was written; null when it is too late for another agent. */
  #kept: Uint8Array[] | null = [];
  #keptBytes = 0;
  /** What of it the stream in use has not taken yet. */
  #untold: Uint8Array[] = [];
  /** A write took less than there was. */
  #wantsRoom = false;
  #ended = false;

  constructor(stream: LinkStream, next: NextStream) {
    this.#stream = stream;
    this.#next = next;
    stream.handler = this;
  }

  get id(): number {
    return this.#stream.id;
  }

  read(into: Uint8Array): number {
    const n = this.#stream.read(into);
    if (n !== NOTHING_YET) this.#kept = null;
    return n;
  }

  write(chunk: Uint8Array): number {
    const taken = this.#untold.length > 0 ? 0 : this.#stream.write(chunk);
    this.#keep(chunk.subarray(0, taken));
    this.#wantsRoom = taken < chunk.length;
    return taken;
  }

  end(): void {
    this.#ended = true;
    if (this.#untold.length === 0) this.#stream.end();
  }

  reset(reason: ResetReason, message?: string): void {
    this.#forget();
    this.#stream.reset(reason, message);
  }

  onReadable(): void {
    this.handler.onReadable();
  }

  onWritable(): void {
    this.#tell();
  }

  onReset(reason: ResetReason, message: string): void {
    if (this.#kept !== null && isRefusal(reason)) {
      const next = this.#next(reason, message);
      if (next !== null) return this.#goOn(next, this.#kept);
    }
    this.#forget();
    this.handler.onReset(reason, message);
  }

  #goOn(stream: LinkStream, kept: readonly Uint8Array[]): void {
    this.#stream = stream;
    stream.handler = this;
    this.#untold = [...kept];
    this.#tell();
  }

  #keep(bytes: Uint8Array): void {
    if (this.#kept === null || bytes.length === 0) return;
    this.#keptBytes += bytes.length;
    if (this.#keptBytes > MOST_KEPT) this.#kept = null;
    else this.#kept.push(Uint8Array.from(bytes));
  }

  #tell(): void {
    for (let first = this.#untold[0]; first !== undefined; first = this.#untold[0]) {
      const taken = this.#stream.write(first);
      if (taken < first.length) {
        this.#untold[0] = first.subarray(taken);
        return;
      }
      this.#untold.shift();
    }
    if (this.#ended) return this.#stream.end();
    if (!this.#wantsRoom) return;
    this.#wantsRoom = false;
    this.handler.onWritable();
  }

  #forget(): void {
    this.#kept = null;
    this.#untold = [];
  }
}

/** Whether an agent says by this that it has not reached the target, so that another one may try. */
export function isRefusal(reason: ResetReason): boolean {
  return REFUSALS.has(reason);
}

const NOBODY: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
const REFUSALS: ReadonlySet<ResetReason> = new Set([
  'DIAL_REFUSED',
  'DIAL_TIMEOUT',
  'DIAL_UNREACHABLE',
  'DIAL_NAME_NOT_FOUND',
  'NO_BACKEND',
  'LIMIT',
  'RESOURCE',
]);
/** Bytes of a connection: more than a client says before it is answered, but for uploads. */
const MOST_KEPT = 65_536;
