import { Duplex } from 'node:stream';
import { type ErrorCode, QtunnelError } from '../errors.ts';
import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { BridgeHandler } from '../tunnel/bridge.ts';
import { ReadBuffer } from '../tunnel/read-buffer.ts';

type Callback = (error?: Error | null) => void;

/**
 * A link's stream as a Node stream that may be half closed.
 *
 *     _read      ──▶ stream.read ── nothing yet? onReadable ──▶ push, until the reader has HIGH_WATER_MARK bytes before it
 *     _write     ──▶ stream.write ── took less? onWritable ──▶ the rest, then the callback
 *     _final     ──▶ stream.end             END ──▶ push(null)
 *     destroy    ──▶ stream.reset, unless both directions have ended
 *     onReset    ──▶ destroy(QtunnelError)
 *
 * So a reader that does not read costs HIGH_WATER_MARK and one read (256 KiB at most) here, and what the stream's credit allows below.
 */
export class LinkDuplex extends Duplex implements StreamHandler {
  readonly #stream: LinkStream;
  readonly #handler: BridgeHandler;
  /** What the stream did not take yet of the chunk that is being written, and whom to tell when it did. */
  #pending: { rest: Uint8Array; done: Callback } | null = null;
  #wanted = false;
  #reading = false;
  #endRead = false;
  #endSent = false;
  #over = false;

  constructor(stream: LinkStream, handler: BridgeHandler) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_MARK });
    this.#stream = stream;
    this.#handler = handler;
    stream.handler = this;
  }

  /** Cuts both directions off for the tunnel's own reasons. */
  abort(reason: ResetReason, message: string): void {
    if (this.#over) return;
    this.#stream.reset(reason, message);
    this.onReset(reason, message);
  }

  onReadable(): void {
    if (this.#reading || this.destroyed) return;
    this.#reading = true;
    this.#readWhileWanted();
    this.#reading = false;
  }

  onWritable(): void {
    const pending = this.#pending;
    if (pending === null || this.destroyed) return;
    this.#pending = null;
    this.#writeAll(pending.rest, pending.done);
  }

  onReset(reason: ResetReason, message: string): void {
    this.#end(reason, message);
    this.destroy(resetError(reason, message));
  }

  override _read(): void {
    this.#wanted = true;
    this.onReadable();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Callback): void {
    this.#writeAll(chunk, done);
  }

  override _final(done: Callback): void {
    this.#endSent = true;
    this.#stream.end();
    done();
  }

  override _destroy(error: Error | null, done: Callback): void {
    if (!this.#over) this.#leave();
    this.#pending?.done(error ?? new QtunnelError('STREAM_RESET', 'The connection was destroyed before everything was written.'));
    this.#pending = null;
    done(error);
  }

  #readWhileWanted(): void {
    for (let budget = READ_BUDGET; this.#wanted && !this.#endRead && !this.destroyed;) {
      if (budget <= 0) return void setImmediate(() => this.onReadable());
      const n = this.#stream.read(INPUT.bytes);
      if (n === NOTHING_YET || this.#over) return;
      if (n === END) {
        this.#endRead = true;
        this.push(null);
        return;
      }
      budget -= n;
      this.#handler.onReceived(n);
      // Cleared first: a listener may ask for more from within `push`.
      this.#wanted = false;
      if (this.push(takeInput(n))) this.#wanted = true;
    }
  }

  #writeAll(chunk: Uint8Array, done: Callback): void {
    const taken = this.#stream.write(chunk);
    this.#handler.onSent(taken);
    if (taken === chunk.length) return done();
    if (this.destroyed) return done(this.errored);
    this.#pending = { rest: chunk.subarray(taken), done };
  }

  #leave(): void {
    if (this.#endRead && this.#endSent) return this.#end(null, '');
    const message = 'the application gave the connection up';
    this.#stream.reset('RESET', message);
    this.#end('RESET', message);
  }

  #end(reason: ResetReason | null, message: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#handler.onEnd(reason, message);
  }
}

/** What a connection that was cut off for this reason fails with. */
export function resetError(reason: ResetReason, message: string): QtunnelError {
  const [code, otherwise] = MEANINGS[reason];
  return new QtunnelError(code, message === '' ? otherwise : message);
}

/** The first `n` bytes of the input: themselves when they fill most of it, a copy when they would keep much more than themselves alive. */
function takeInput(n: number): Buffer {
  const { bytes } = INPUT;
  if (n < bytes.length / 2) return Buffer.from(bytes.subarray(0, n));
  INPUT.leave();
  return Buffer.from(bytes.buffer, bytes.byteOffset, n);
}

const MEANINGS: Record<ResetReason, [ErrorCode, string]> = {
  RESET: ['STREAM_RESET', 'The far end reset the connection.'],
  DIAL_REFUSED: ['DIAL_REFUSED', 'The backend refused the connection.'],
  DIAL_TIMEOUT: ['DIAL_TIMEOUT', 'The backend did not answer in time.'],
  DIAL_UNREACHABLE: ['DIAL_UNREACHABLE', 'The backend cannot be reached.'],
  DIAL_NAME_NOT_FOUND: ['DIAL_NAME_NOT_FOUND', "The backend's name does not resolve."],
  LIMIT: ['STREAM_LIMIT', 'The server is at its limit of connections.'],
  SHUTDOWN: ['SHUTTING_DOWN', 'The tunnel is shutting down.'],
  LINK_LOST: ['LINK_LOST', 'The link that carried the connection was lost.'],
  PROTOCOL: ['PROTOCOL_VIOLATION', 'The far end ended the connection because of a breach of protocol.'],
  NO_BACKEND: ['BACKEND_UNKNOWN', 'The server offers no such backend.'],
  RESOURCE: ['SERVER_BUSY', 'The server is out of descriptors or memory.'],
};
/** All connections of a thread read into the same buffer. */
const INPUT = new ReadBuffer();
/** Bytes, in each direction: one read or DATA frame. */
const HIGH_WATER_MARK = 65_536;
/** Bytes that one connection moves before others have their turn: a millisecond at 1 GB/s. */
const READ_BUDGET = 1 << 20;
