import type { Socket } from 'node:net';
import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { ReadBuffer } from './read-buffer.ts';
import { resetSocket } from './reset-socket.ts';
import { NOTHING, probeWhilePaused, stopProbing } from './reset-probe.ts';
import { readerOf } from './socket-reader.ts';
import { WAITING } from './waiting.ts';

/** What a bridge tells its owner. */
export interface BridgeHandler {
  /** Bytes went from the socket into the stream, or from the stream to the socket. */
  onSent(bytes: number): void;
  onReceived(bytes: number): void;
  /** Both directions have ended cleanly (`reason` null), or the connection was cut off. Called once, last. */
  onEnd(reason: ResetReason | null, message: string): void;
}

/**
 * Joins a TCP connection and a stream until both directions have ended.
 *
 *     socket 'data' ──▶ stream.write ── took less? pause the socket ─▶ onWritable ──▶ the rest, resume
 *     socket 'end'  ──▶ stream.end, once everything was taken
 *     onReadable    ──▶ stream.read ──▶ socket.write ── kernel full? stop reading ─▶ 'drain' ──▶ read on
 *     END           ──▶ socket.end
 *     an error on either side ──▶ a reset on the other
 *
 * So at most one chunk (64 KiB towards the stream, 256 KiB towards the socket) waits here; everything else waits in the kernel or in the stream's credit.
 */
export class Bridge implements StreamHandler {
  readonly #socket: Socket;
  readonly #stream: LinkStream;
  readonly #handler: BridgeHandler;
  /** What the stream did not take of the last chunk. */
  #pending: Uint8Array | null = null;
  /** The buffer that the socket still writes from. */
  #left: Uint8Array | null = null;
  #socketEnded = false;
  #streamEnded = false;
  #blocked = false;
  #continuing = false;
  #over = false;

  /** The socket is connected and was made with `allowHalfOpen`; the stream may have been read from and written to before. */
  constructor(socket: Socket, stream: LinkStream, handler: BridgeHandler) {
    this.#socket = socket;
    this.#stream = stream;
    this.#handler = handler;
    stream.handler = this;
    socket.setNoDelay(true);
    socket.on('end', this.#onEnd);
    socket.on('drain', this.#onDrain);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    const reader = readerOf(socket);
    if (reader === undefined) socket.on('data', this.#onData);
    else reader.start(socket, this.#onData);
    if (socket.readableEnded) this.#onEnd();
    // What came before the socket was there.
    this.onReadable();
  }

  /** Cuts both sides off. */
  abort(reason: ResetReason, message: string): void {
    if (this.#over) return;
    this.#stream.reset(reason, message);
    this.#finish(reason, message);
  }

  onReadable(): void {
    if (this.#blocked || this.#over || this.#streamEnded) return;
    for (let budget = READ_BUDGET; budget > 0;) {
      const n = this.#stream.read(INPUT.bytes);
      if (n === NOTHING_YET || this.#over) return;
      if (n === END) return this.#endSocket();
      budget -= n;
      this.#handler.onReceived(n);
      if (!this.#writeSocket(n)) return;
    }
    this.#continueLater();
  }

  onWritable(): void {
    const pending = this.#pending;
    if (pending === null || this.#over) return;
    const taken = this.#write(pending);
    if (this.#over) return;
    if (taken < pending.length) {
      this.#pending = pending.subarray(taken);
      return;
    }
    this.#releasePending();
    if (this.#socketEnded) this.#stream.end();
    else this.#socket.resume();
    stopProbing(this.#socket);
  }

  onReset(reason: ResetReason, message: string): void {
    this.#finish(reason, message);
  }

  readonly #onData = (chunk: Uint8Array): void => {
    const taken = this.#over ? chunk.length : this.#write(chunk);
    if (taken === chunk.length || this.#over) return;
    this.#pending = WAITING.keep(chunk.subarray(taken));
    this.#socket.pause();
    probeWhilePaused(this.#socket);
  };

  /**
   * When bytes and a reset come together, libuv calls the reset an end (POLLHUP after a short read). The kernel still knows: a write fails, even of
   * nothing. So an end is believed when no error follows, as long as this side can write; after that a reset changes little.
   */
  readonly #onEnd = (): void => {
    if (!this.#socket.writable) return this.#endStream();
    if (this.#socket.writableLength === 0) this.#socket.write(NOTHING);
    setImmediate(this.#endStream);
  };

  readonly #endStream = (): void => {
    if (this.#over) return;
    this.#socketEnded = true;
    if (this.#pending === null) this.#stream.end();
  };

  readonly #onDrain = (): void => {
    this.#blocked = false;
    this.#recycle();
    this.onReadable();
  };

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    this.abort('RESET', `TCP connection failed (${error.code ?? error.message})`);
  };

  readonly #onClose = (): void => {
    if (this.#over) return;
    if (this.#socketEnded && this.#streamEnded && this.#pending === null) this.#finish(null, '');
    else this.abort('RESET', 'TCP connection closed');
  };

  #releasePending(): void {
    if (this.#pending !== null) WAITING.release(this.#pending);
    this.#pending = null;
  }

  #write(chunk: Uint8Array): number {
    const taken = this.#stream.write(chunk);
    this.#handler.onSent(taken);
    return taken;
  }

  /** Hands the first `n` bytes of `INPUT` to the socket; false when it wants no more for now. */
  #writeSocket(n: number): boolean {
    this.#recycle();
    const bytes = INPUT.bytes.subarray(0, n);
    if (this.#left !== null) {
      // The kernel is full already: this waits in a copy of its own size, so that no more than one buffer is left to a socket.
      this.#blocked = !this.#socket.write(Uint8Array.from(bytes));
      return !this.#blocked;
    }
    this.#blocked = !this.#socket.write(bytes);
    // What the kernel did not take at once still refers to the buffer.
    if (this.#socket.writableLength > 0) this.#left = INPUT.leave();
    return !this.#blocked;
  }

  /** When the socket has nothing left to write, the buffer left to it is free. */
  #recycle(): void {
    if (this.#left === null || this.#socket.writableLength > 0) return;
    INPUT.recycle(this.#left);
    this.#left = null;
  }

  #endSocket(): void {
    this.#streamEnded = true;
    this.#socket.end();
  }

  #continueLater(): void {
    if (this.#continuing) return;
    this.#continuing = true;
    setImmediate(() => {
      this.#continuing = false;
      this.onReadable();
    });
  }

  #finish(reason: ResetReason | null, message: string): void {
    if (this.#over) return;
    this.#over = true;
    stopProbing(this.#socket);
    this.#releasePending();
    if (reason !== null) resetSocket(this.#socket);
    this.#handler.onEnd(reason, message);
  }
}

/** All bridges of a thread read into the same buffer: what the kernel takes at once is used up before anybody else reads. */
const INPUT = new ReadBuffer();
/** Bytes that one bridge moves before others have their turn: a millisecond at 1 GB/s. */
const READ_BUDGET = 1 << 20;
