import type { TLSSocket } from 'node:tls';
import { QtunnelError } from '../errors.ts';
import { FRAME, FRAME_HEADER, type FrameHandler, FrameReader, MAX_DATA, writeFrameHeader } from '../protocol/frames.ts';
import { readIntoOwnBuffer } from './own-buffer.ts';
import { SlabPool } from './slabs.ts';

/** Who a connection's frames are for at the moment: its greeting, then the pool, then one stream; or the link's control. */
export interface ConnectionHandler {
  /** A QtunnelError thrown here ends the connection and comes back through `onLost`. */
  onFrame(type: number, payload: Uint8Array): void;
  /** Part of a DATA frame's payload, in order; valid during the call only. */
  onData(part: Uint8Array): void;
  /** After `room` was used up: there is room again. */
  onDrain(): void;
  /** The connection ended without a farewell of this side's, or the peer broke the protocol. Called once; nothing is called after it. */
  onLost(error: QtunnelError): void;
}

/** One TLS connection that carries frames. It has a handler until this side ends it; what arrives after that is read and dropped. */
export class TlsConnection implements FrameHandler {
  readonly peer: string;
  readonly socket: TLSSocket;
  handler: ConnectionHandler = NOBODY;
  /** The descriptor is closed. */
  onGone: () => void = () => {};
  readonly #reader = new FrameReader(this);
  /** Slabs under way, oldest first. */
  readonly #slabs: Uint8Array<ArrayBuffer>[] = [];
  /** DATA frames written since the queue was last empty. */
  #frames = 0;
  #ended = false;
  #lingerTimer: NodeJS.Timeout | null = null;

  constructor(socket: TLSSocket, peer: string, keepalive: number) {
    this.socket = socket;
    this.peer = peer;
    socket.setNoDelay(true);
    // Keeps NAT bindings of waiting connections open, and notices in the end that a connection without a link is dead.
    socket.setKeepAlive(true, keepalive);
    socket.on('data', this.#onData);
    readIntoOwnBuffer(socket, this.#onData);
    socket.on('drain', this.#onDrain);
    socket.on('end', () => this.#lose(new QtunnelError('LINK_LOST', `${peer} ended the connection.`)));
    socket.on('error', (cause) => this.#lose(lost(peer, cause)));
    socket.on('close', this.#onClose);
  }

  /** Bytes that `sendData` takes now. */
  get room(): number {
    return this.#frames >= MAX_QUEUED_FRAMES ? 0 : Math.max(0, WRITE_LIMIT - this.socket.writableLength);
  }

  /** Bytes that wait for the kernel. */
  get queued(): number {
    return this.socket.writableLength;
  }

  /** Whether it may carry a further stream: what one key should encrypt is bounded (RFC 8446 §5.5). */
  get isFresh(): boolean {
    return !this.#ended && this.socket.bytesWritten + this.socket.bytesRead < MAX_BYTES;
  }

  /** Sends a whole control frame; `whenSent` is called when the kernel has it, or with an error when it never will. */
  send(bytes: Uint8Array, whenSent?: (error?: Error | null) => void): void {
    if (!this.#ended) this.socket.write(bytes, whenSent);
  }

  /** Sends a DATA frame with a copy of `payload`, which is at most `MAX_DATA` bytes and at most `room`. */
  sendData(payload: Uint8Array): void {
    if (this.socket.writableLength === 0) this.#frames = 0;
    this.#frames++;
    const inSlab = payload.length >= SLAB_FROM;
    const memory = inSlab ? SLABS.take() : Buffer.allocUnsafe(FRAME_HEADER + payload.length);
    writeFrameHeader(memory, 0, FRAME.DATA, payload.length);
    memory.set(payload, FRAME_HEADER);
    if (inSlab) this.#slabs.push(memory as Uint8Array<ArrayBuffer>);
    this.socket.write(memory.subarray(0, FRAME_HEADER + payload.length), inSlab ? this.#onSlabSent : this.#whenSmallSent);
  }

  /** What is sent up to the end of this tick goes out together: OPEN and a stream's first bytes in one packet. */
  gather(): void {
    this.socket.cork();
    process.nextTick(uncork, this.socket);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Ends the connection after what was sent. */
  finish(): void {
    if (this.#end()) this.socket.end(() => this.#linger());
  }

  /** Ends the connection, with `last` as its last frame, within `LINGER` whether or not the peer takes it. */
  cutOff(last: Uint8Array | null): void {
    if (this.#end()) {
      if (last !== null) this.socket.write(last);
      this.socket.end();
    }
    this.#linger();
  }

  destroy(): void {
    this.#ended = true;
    this.handler = NOBODY;
    this.socket.destroy();
  }

  onFrame(type: number, payload: Uint8Array): void {
    this.handler.onFrame(type, payload);
  }

  onData(part: Uint8Array): void {
    this.handler.onData(part);
  }

  readonly #onData = (chunk: Uint8Array): void => {
    if (this.#ended) return;
    try {
      this.#reader.push(chunk);
    } catch (error) {
      if (!(error instanceof QtunnelError)) throw error;
      this.#lose(error);
    }
  };

  readonly #onDrain = (): void => {
    this.#frames = 0;
    if (!this.#ended) this.handler.onDrain();
  };

  /** 'drain' comes only after 16 KiB; `MAX_QUEUED_FRAMES` small frames may be less. */
  get #whenSmallSent(): (() => void) | undefined {
    return this.#frames >= MAX_QUEUED_FRAMES ? this.#onDrain : undefined;
  }

  readonly #onSlabSent = (): void => {
    const slab = this.#slabs.shift();
    if (slab !== undefined) SLABS.give(slab);
  };

  readonly #onClose = (): void => {
    if (this.#lingerTimer !== null) clearTimeout(this.#lingerTimer);
    this.#lose(new QtunnelError('LINK_LOST', `The connection with ${this.peer} was closed.`));
    this.onGone();
  };

  /** The handler may still say a last word; without one the connection is destroyed. */
  #lose(error: QtunnelError): void {
    if (this.#ended) return;
    const { handler } = this;
    this.handler = NOBODY;
    handler.onLost(error);
    if (!this.#ended) this.destroy();
  }

  #end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.handler = NOBODY;
    // A close while bytes of the peer's wait in the kernel would send a TCP reset that overtakes what was sent before.
    this.socket.resume();
    return true;
  }

  #linger(): void {
    if (!this.socket.destroyed) this.#lingerTimer ??= setTimeout(destroySocket, LINGER, this.socket);
  }
}

function lost(peer: string, cause: NodeJS.ErrnoException): QtunnelError {
  return new QtunnelError('LINK_LOST', `The connection with ${peer} failed (${cause.code ?? cause.message}).`, { cause });
}

function uncork(socket: TLSSocket): void {
  socket.uncork();
}

function destroySocket(socket: TLSSocket): void {
  socket.destroy();
}

const SLABS = new SlabPool(FRAME_HEADER + MAX_DATA);
const NOBODY: ConnectionHandler = { onFrame() {}, onData() {}, onDrain() {}, onLost() {} };
/** Bytes that one connection holds for the kernel. More did not make one stream over loopback faster (64 KiB: 1.31 GB/s, 256 KiB: 1.3 GB/s). */
export const WRITE_LIMIT = 256 * 1024;
/** Node keeps some 200 bytes for each write, so a stream of tiny ones is bounded by their number. */
const MAX_QUEUED_FRAMES = 1024;
/** Bytes of payload from which a slab is used: below it, its unused part would more than double what a stream holds. */
const SLAB_FROM = MAX_DATA / 2;
/** Milliseconds that a connection this side has ended waits for the peer to end it as well. */
const LINGER = 1_000;
/** 64 GiB: a sixth of what AES-GCM may encrypt with one key in full records. */
const MAX_BYTES = 2 ** 36;
