import type { Socket } from 'node:net';
import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { ReadBuffer } from '../tunnel/read-buffer.ts';
import { NOTHING, probeWhilePaused, stopProbing } from '../tunnel/reset-probe.ts';
import { resetSocket } from '../tunnel/reset-socket.ts';
import { readerOf } from '../tunnel/socket-reader.ts';
import { WAITING } from '../tunnel/waiting.ts';

/**
 * A connected TCP socket in the place of a link's stream, so that a bridge can join it with another socket: the same back-pressure, ends, resets and limits as
 * through a tunnel. What is read is handed on from the thread's shared buffer; only what the other side does not take is kept, and the socket paused.
 */
export class SocketStream implements LinkStream {
  readonly id = 0;
  handler: StreamHandler = NOBODY;
  readonly #socket: Socket;
  /** What was read and not taken: the thread's buffer while `onReadable` runs, a copy afterwards. */
  #chunk: Uint8Array | null = null;
  #isCopy = false;
  /** The socket's end has come, and is believed (`#onEnd`). */
  #sawEnd = false;
  #ended = false;
  #over = false;
  /** What the socket still writes from; nothing is taken meanwhile. */
  #left: Uint8Array | null = null;
  /** A write took less than there was. */
  #wantsRoom = false;

  /** The socket is connected and was made with `allowHalfOpen`. */
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose);
  }

  /** Begins to read. */
  start(): void {
    const reader = readerOf(this.#socket);
    if (reader === undefined) this.#socket.on('data', this.#onData);
    else reader.start(this.#socket, this.#onData);
  }

  read(into: Uint8Array): number {
    const chunk = this.#chunk;
    if (chunk === null) return this.#ended ? END : NOTHING_YET;
    const n = Math.min(into.length, chunk.length);
    into.set(n === chunk.length ? chunk : chunk.subarray(0, n));
    if (n < chunk.length) this.#chunk = chunk.subarray(n);
    else this.#release();
    return n;
  }

  write(chunk: Uint8Array): number {
    let taken = 0;
    while (taken < chunk.length && this.#left === null && !this.#over) {
      const n = Math.min(chunk.length - taken, OUTPUT.bytes.length);
      OUTPUT.bytes.set(chunk.subarray(taken, taken + n));
      this.#socket.write(OUTPUT.bytes.subarray(0, n), this.#onWritten);
      // What the kernel did not take at once still refers to the buffer.
      if (this.#socket.writableLength > 0) this.#left = OUTPUT.leave();
      taken += n;
    }
    this.#wantsRoom = taken < chunk.length;
    return taken;
  }

  end(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#finish();
    resetSocket(this.#socket);
  }

  readonly #onData = (bytes: Uint8Array): void => {
    if (this.#over) return;
    this.#chunk = bytes;
    this.handler.onReadable();
    if (this.#chunk === null || this.#isCopy) return;
    this.#chunk = WAITING.keep(this.#chunk);
    this.#isCopy = true;
    this.#socket.pause();
    probeWhilePaused(this.#socket);
  };

  /** As for the bridge's own socket: a reset that comes together with bytes looks like an end, and the next write fails. */
  readonly #onEnd = (): void => {
    this.#sawEnd = true;
    if (!this.#socket.writable) return this.#believeEnd();
    if (this.#socket.writableLength === 0) this.#socket.write(NOTHING);
    setImmediate(this.#believeEnd);
  };

  readonly #believeEnd = (): void => {
    if (this.#over) return;
    this.#ended = true;
    this.handler.onReadable();
  };

  readonly #onWritten = (): void => {
    if (this.#socket.writableLength > 0) return;
    this.#recycle();
    if (!this.#wantsRoom || this.#over) return;
    this.#wantsRoom = false;
    this.handler.onWritable();
  };

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    this.#cutOff('RESET', `the target's connection failed (${error.code ?? error.message})`);
  };

  readonly #onClose = (): void => {
    if (!this.#sawEnd) this.#cutOff('RESET', "the target's connection closed");
  };

  #cutOff(reason: ResetReason, message: string): void {
    if (this.#over) return;
    this.#finish();
    this.handler.onReset(reason, message);
  }

  #finish(): void {
    this.#over = true;
    this.#release();
  }

  #release(): void {
    if (this.#isCopy && this.#chunk !== null) {
      WAITING.release(this.#chunk);
      stopProbing(this.#socket);
      if (!this.#over) this.#socket.resume();
    }
    this.#chunk = null;
    this.#isCopy = false;
  }

  #recycle(): void {
    if (this.#left !== null) OUTPUT.recycle(this.#left);
    this.#left = null;
  }
}

const NOBODY: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
/** Direct connections of a thread write from the same buffer: what the kernel takes at once is used up before anybody else writes. */
const OUTPUT = new ReadBuffer();
