import type { TLSSocket } from 'node:tls';
import { QtunnelError } from '../errors.ts';
import { FRAME, FRAME_HEADER, type FrameHandler, FrameReader, MAX_DATA, writeFrameHeader } from '../protocol/frames.ts';
import { SMALL_HEADER, writeSmall } from '../protocol/messages.ts';
import { readIntoOwnBuffer } from './own-buffer.ts';
import { SlabPool } from '../link/slabs.ts';
import { takeTurn, type TurnTaker } from './turns.ts';

/** Who a connection's frames are for at the moment: its greeting, then the pool, then one stream; or the link's control. */
export interface ConnectionHandler {
  /** A QtunnelError thrown here ends the connection and comes back through `onLost`. */
  onFrame(type: number, payload: Uint8Array): void;
  /** Part of a DATA frame's payload, in order; valid during the call only. */
  onData(part: Uint8Array): void;
  /** There may be room again. */
  onDrain(): void;
  /** The connection ended without a farewell of this side's, or the peer broke the protocol. Called once; nothing is called after it. */
  onLost(error: QtunnelError): void;
}

/**
 * One TLS connection that carries frames. It has a handler until this side ends it; what arrives after that is read and dropped.
 *
 *     sendData ──▶ batch ── nothing under way? at once, else when that is done ──▶ one write ──▶ TLS ──▶ kernel
 *     sendSmall, sendSoon ──▶ batch ── the same, but at the end of the turn
 *
 * One write of many frames costs less than many: TLS encrypts it where it lies, and in full records.
 */
export class TlsConnection implements FrameHandler, TurnTaker {
  readonly peer: string;
  readonly socket: TLSSocket;
  handler: ConnectionHandler = NOBODY;
  isDue = false;
  /** The descriptor is closed. */
  onGone: () => void = () => {};
  readonly #reader = new FrameReader(this);
  /** Slabs of the writes that are under way, oldest first; null for a write without one. */
  readonly #underWay: (Slab | null)[] = [];
  /** Frames that wait for them. */
  #batch: Slab | null = null;
  #batched = 0;
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
    socket.on('end', () => this.#lose(new QtunnelError('LINK_LOST', `${peer} ended the connection.`)));
    socket.on('error', (cause) => this.#lose(lost(peer, cause)));
    socket.on('close', this.#onClose);
  }

  /** Whether `sendData` takes anything now. */
  get hasRoom(): boolean {
    return this.#underWay.length === 0 || this.#batched < BATCH - FRAME_HEADER;
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
    if (this.#ended) return;
    this.#sendBatch();
    this.socket.write(bytes, whenSent);
  }

  /** Sends a whole control frame together with others of this turn. */
  sendSoon(bytes: Uint8Array): void {
    if (this.#ended) return;
    if (!this.#reserve(bytes.length, BATCH)) return this.send(bytes);
    this.#batch!.set(bytes, this.#batched);
    this.#batched += bytes.length;
  }

  /** Whether `sendSmall` takes a frame now. */
  get hasRoomForSmall(): boolean {
    return this.#underWay.length === 0 || this.#batched < MOST_SMALL;
  }

  /** Sends a copy of `payload` in a SMALL frame together with others of this turn, or nothing when there is no room until `onDrain`. */
  sendSmall(stream: number, payload: Uint8Array): boolean {
    if (this.#ended || !this.#reserve(SMALL_HEADER + payload.length, MOST_SMALL)) return false;
    this.#batched = writeSmall(this.#batch!, this.#batched, stream, payload);
    return true;
  }

  /** Whether `trySend` takes frames with so many bytes in all now. */
  hasRoomFor(bytes: number): boolean {
    return this.#underWay.length === 0 || this.#batched + bytes <= BATCH;
  }

  /** Sends a copy of a control frame together with others of this turn, or nothing when there is no room until `onDrain`. */
  trySend(type: number, payload: Uint8Array): boolean {
    if (this.#ended || !this.#reserve(FRAME_HEADER + payload.length, BATCH)) return false;
    writeFrameHeader(this.#batch!, this.#batched, type, payload.length);
    this.#batch!.set(payload, this.#batched + FRAME_HEADER);
    this.#batched += FRAME_HEADER + payload.length;
    return true;
  }

  handleTurn(): void {
    if (this.#underWay.length === 0 && !this.#ended) this.#sendBatch();
  }

  /** Sends a copy of as much of `payload` as there is room for, in DATA frames, and returns how many bytes that is. */
  sendData(payload: Uint8Array): number {
    if (this.#ended) return 0;
    const isShort = payload.length < SLAB_FROM && this.#underWay.length === 0;
    return isShort ? this.#sendShort(payload) : this.#sendLarge(payload);
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

  /** Ends the connection as one whose peer broke the protocol. */
  fail(error: QtunnelError): void {
    this.#lose(error);
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

  /** Makes room for `n` bytes in the batch, of which no more than `most` may wait; false when they do. */
  #reserve(n: number, most: number): boolean {
    if (this.#underWay.length > 0 && this.#batched + n > most) return false;
    if (this.#batched + n > BATCH) this.#sendBatch();
    this.#batch ??= SLABS.take();
    takeTurn(this);
    return true;
  }

  #sendShort(payload: Uint8Array): number {
    const bytes = Buffer.allocUnsafe(FRAME_HEADER + payload.length);
    writeFrameHeader(bytes, 0, FRAME.DATA, payload.length);
    bytes.set(payload, FRAME_HEADER);
    this.#underWay.push(null);
    this.socket.write(bytes, this.#onSent);
    return payload.length;
  }

  #sendLarge(payload: Uint8Array): number {
    let at = 0;
    while (at < payload.length && this.hasRoom) {
      at += this.#addToBatch(payload, at);
      if (this.#underWay.length === 0) this.#sendBatch();
    }
    return at;
  }

  /** Adds one frame with what fits of `payload` from `at` on, and returns how much that is. */
  #addToBatch(payload: Uint8Array, at: number): number {
    const batch = (this.#batch ??= SLABS.take());
    const n = Math.min(payload.length - at, MAX_DATA, BATCH - FRAME_HEADER - this.#batched);
    writeFrameHeader(batch, this.#batched, FRAME.DATA, n);
    batch.set(n === payload.length ? payload : payload.subarray(at, at + n), this.#batched + FRAME_HEADER);
    this.#batched += FRAME_HEADER + n;
    return n;
  }

  #sendBatch(): void {
    const batch = this.#batch;
    if (batch === null) return;
    const bytes = batch.subarray(0, this.#batched);
    this.#batch = null;
    this.#batched = 0;
    this.#underWay.push(batch);
    this.socket.write(bytes, this.#onSent);
  }

  readonly #onSent = (): void => {
    const slab = this.#underWay.shift();
    if (slab !== undefined && slab !== null) SLABS.give(slab);
    if (this.#underWay.length > 0 || this.#ended) return;
    this.#sendBatch();
    this.handler.onDrain();
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
    this.#sendBatch();
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

type Slab = Uint8Array<ArrayBuffer>;

const NOBODY: ConnectionHandler = { onFrame() {}, onData() {}, onDrain() {}, onLost() {} };
/**
 * Bytes of one write: eight full TLS records. Two of them are what a stream has on its way at most. Against writes of 64 KiB this takes a tenth off both sides'
 * CPU time; 256 KiB were not better by more than the noise.
 */
const BATCH = 131_072;
/** Bytes of SMALL frames that wait behind a write: they share the connection, so none should wait long. */
const MOST_SMALL = 65_536;
/** Bytes of payload from which a batch is begun: below it, its unused part would be most of what a stream holds. */
const SLAB_FROM = 16_384;
/** Milliseconds that a connection this side has ended waits for the peer to end it as well. */
const LINGER = 1_000;
/** 64 GiB: a sixth of what AES-GCM may encrypt with one key in full records. */
const MAX_BYTES = 2 ** 36;
const SLABS = new SlabPool(BATCH);
