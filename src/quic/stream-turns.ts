import type { QuicStream } from './stream.ts';

/** What streams wait for; a turn of the connection gives it to them. */
export class StreamTurns {
  /** Streams that could write if the congestion window were open, longest waiting first. */
  readonly #waiting = new Set<QuicStream>();
  readonly #creditDue = new Set<QuicStream>();
  /** Streams whose handlers stopped reading although there may be more. */
  #readAgain: QuicStream[] = [];

  waitForCapacity(stream: QuicStream): void {
    this.#waiting.add(stream);
  }

  creditDue(stream: QuicStream): void {
    this.#creditDue.add(stream);
  }

  readAgain(stream: QuicStream): void {
    this.#readAgain.push(stream);
  }

  forget(stream: QuicStream): void {
    this.#waiting.delete(stream);
    this.#creditDue.delete(stream);
  }

  serveReaders(): void {
    if (this.#readAgain.length === 0) return;
    const streams = this.#readAgain;
    this.#readAgain = [];
    for (const stream of streams) stream.handleReadable();
  }

  serveWriters(): void {
    for (let left = this.#waiting.size; left > 0; left--) {
      const [stream] = this.#waiting;
      if (stream === undefined) return;
      this.#waiting.delete(stream);
      stream.handleWritable();
      // The window is full again; who has waited longest is first next time.
      if (this.#waiting.has(stream)) return;
    }
  }

  /** Calls `grant` for the streams that have read half of what they granted. */
  serveCredit(grant: (stream: QuicStream, now: number) => void, now: number): void {
    if (this.#creditDue.size === 0) return;
    for (const stream of this.#creditDue) grant(stream, now);
    this.#creditDue.clear();
  }
}
