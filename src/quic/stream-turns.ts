import type { QuicStream } from './stream.ts';

/** What streams wait for; a turn of the connection gives it to them. */
export class StreamTurns {
  /** Streams that could write if there were room, longest waiting first. */
  readonly #waiting = new Set<QuicStream>();
  /** The stream whose turn it is to write; until the next one's, since a handler may write after it has returned. */
  #writer: QuicStream | null = null;
  /** What has come of its turn; null while it has not tried to write. */
  #outcome: Outcome | null = null;
  readonly #creditDue = new Set<QuicStream>();
  /** Streams whose handlers stopped reading although there may be more. */
  #readAgain: QuicStream[] = [];

  /** Whether a stream may write now: none overtakes those that wait, or a small write, which needs room for all of it, would find none beside bulk. */
  mayWrite(stream: QuicStream): boolean {
    if (this.#waiting.size === 0) return true;
    if (stream !== this.#writer) return false;
    this.#outcome ??= 'tried';
    return true;
  }

  /** The stream has written `written` bytes, and could write more if there were room. */
  waitForCapacity(stream: QuicStream, written: number): void {
    if (stream === this.#writer) this.#outcome = written > 0 ? 'got some' : 'got none';
    if (written > 0) this.#waiting.delete(stream);
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

  /**
   * Lets those write that wait, as long as `hasRoom` for them. Who has got nothing keeps its place, who has got something goes behind the others. False when one was told
   * of the room and has yet to try: it has until the next call.
   */
  serveWriters(hasRoom: (stream: QuicStream) => boolean): boolean {
    for (let left = this.#waiting.size; left > 0; left--) {
      const [stream] = this.#waiting;
      if (stream === undefined || !hasRoom(stream)) return true;
      const hasTried = stream === this.#writer && this.#outcome === 'got none';
      this.#writer = stream;
      this.#outcome = null;
      const wasTold = stream.handleWritable();
      if (this.#outcome === 'got none') return true;
      if (this.#outcome === null && wasTold) return hasTried;
      if (this.#outcome !== 'got some') this.#waiting.delete(stream);
    }
    return true;
  }

  /** Calls `grant` for the streams that have read half of what they granted. */
  serveCredit(grant: (stream: QuicStream, now: number) => void, now: number): void {
    if (this.#creditDue.size === 0) return;
    for (const stream of this.#creditDue) grant(stream, now);
    this.#creditDue.clear();
  }
}

type Outcome = 'tried' | 'got some' | 'got none';
