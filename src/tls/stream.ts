import { QtunnelError } from '../errors.ts';
import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import { FRAME, frame, MAX_DATA } from '../protocol/frames.ts';
import { decodeReset, encodeReset } from '../protocol/messages.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { ConnectionHandler, TlsConnection } from './connection.ts';
import { ReceiveQueue } from '../link/receive-queue.ts';
import { takeTurn, type TurnTaker } from './turns.ts';

/** What a stream asks of its link. */
export interface StreamHost {
  /** The stream has ended in both directions, or was reset. */
  forget(stream: TlsStream): void;
  /** Nothing more is to be sent or received: `connection` is free. */
  release(connection: TlsConnection): void;
}

/**
 * A stream that has a TLS connection of its own, or will have one: until `start`, frames wait here.
 *
 *     TLS records ─▶ TlsConnection ─▶ onData ─▶ ReceiveQueue ─▶ (once per turn) onReadable ─▶ read
 *                         ▲                         └─ full? pause the connection; half empty? resume
 *     write ─▶ sendData ──┘ as far as there is room; onDrain ─▶ onWritable
 *
 * It has ended when its end was read and FIN was handed to the kernel; from then on, and after a reset, it is `over` and calls nobody. Its connection is
 * free as soon as FIN was written and received, whatever is still unread.
 * While the connection is paused nothing is heard from the peer, a reset included: it is found when the reader reads on.
 */
export class TlsStream implements LinkStream, ConnectionHandler, TurnTaker {
  readonly id: number;
  handler: StreamHandler = NOBODY;
  isDue = false;
  readonly #host: StreamHost;
  readonly #receiveLimit: number;
  readonly #incoming = new ReceiveQueue();
  #connection: TlsConnection | null = null;
  /** Frames that wait for a connection. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #paused = false;
  #wantsWrite = false;
  #finSent = false;
  #finFlushed = false;
  #finReceived = false;
  #endRead = false;
  #over = false;

  /** `buffer` is the most bytes it may hold for its reader; `opening` the frame that goes before all others, null for an accepted stream. */
  constructor(host: StreamHost, id: number, buffer: number, opening: Uint8Array | null) {
    this.#host = host;
    this.id = id;
    this.#receiveLimit = Math.min(buffer, RECEIVE_LIMIT);
    if (opening !== null) this.#held.push(opening);
  }

  /** Whether nothing more can come of it. */
  get isOver(): boolean {
    return this.#over;
  }

  /** Goes on over `connection`, which is authenticated and from now on the stream's. */
  start(connection: TlsConnection): void {
    this.#connection = connection;
    connection.handler = this;
    if (this.#held.length > 0) connection.gather();
    for (const bytes of this.#held) connection.send(bytes);
    this.#held = [];
    this.#heldBytes = 0;
    if (this.#finSent) connection.send(FIN, this.#handleFinSent);
    if (this.#wantsWrite) takeTurn(this);
  }

  read(into: Uint8Array): number {
    if (this.#endRead) return END;
    if (this.#over || into.length === 0) return NOTHING_YET;
    const n = this.#incoming.read(into);
    if (n === 0) return this.#finReceived ? this.#readEnd() : NOTHING_YET;
    if (this.#paused && this.#incoming.length <= this.#receiveLimit / 2) this.#resume();
    if (this.#isReadable) takeTurn(this);
    return n;
  }

  write(chunk: Uint8Array): number {
    if (this.#over || this.#finSent || chunk.length === 0) return 0;
    const taken = this.#connection === null ? this.#hold(chunk) : this.#connection.sendData(chunk);
    if (taken < chunk.length) this.#wantsWrite = true;
    return taken;
  }

  end(): void {
    if (this.#over || this.#finSent) return;
    this.#finSent = true;
    this.#connection?.send(FIN, this.#handleFinSent);
    this.#releaseIfDone();
  }

  reset(reason: ResetReason, message = ''): void {
    if (this.#over) return;
    this.#cut(encodeReset(0, reason, message));
  }

  /** The link is gone: what `reset` does for the peer and what a reset of the peer's does for this side. */
  lose(reason: ResetReason, message: string): void {
    if (this.#over) return;
    this.#cut(encodeReset(0, reason, message));
    this.handler.onReset(reason, message);
  }

  onFrame(type: number, payload: Uint8Array): void {
    if (type === FRAME.RESET) return this.#handleReset(payload);
    if (type !== FRAME.FIN || this.#finReceived) {
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer sent a frame of type ${type} where it does not belong.`);
    }
    this.#finReceived = true;
    takeTurn(this);
    this.#releaseIfDone();
  }

  onData(part: Uint8Array): void {
    if (this.#finReceived) throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer sent DATA after FIN.');
    this.#incoming.push(part);
    if (!this.#paused && this.#incoming.length >= this.#receiveLimit) this.#pause();
    takeTurn(this);
  }

  onDrain(): void {
    this.#offerRoom();
  }

  onLost(error: QtunnelError): void {
    if (this.#over) return;
    const violation = error.code === 'PROTOCOL_VIOLATION';
    this.#cut(violation ? encodeReset(0, 'PROTOCOL', error.message) : null);
    this.handler.onReset(violation ? 'PROTOCOL' : 'LINK_LOST', error.message);
  }

  handleTurn(): void {
    if (!this.#over && this.#isReadable) this.handler.onReadable();
    this.#offerRoom();
  }

  get #isReadable(): boolean {
    return this.#incoming.length > 0 || (this.#finReceived && !this.#endRead);
  }

  #offerRoom(): void {
    if (this.#over || !this.#wantsWrite || this.#finSent) return;
    if (this.#connection === null || !this.#connection.hasRoom) return;
    this.#wantsWrite = false;
    this.handler.onWritable();
  }

  #hold(chunk: Uint8Array): number {
    const taken = Math.min(chunk.length, Math.max(0, HOLD_LIMIT - this.#heldBytes));
    if (taken === 0) return 0;
    for (let at = 0; at < taken; at += MAX_DATA)
      this.#held.push(frame(FRAME.DATA, chunk.subarray(at, Math.min(at + MAX_DATA, taken))));
    this.#heldBytes += taken + HELD_OVERHEAD;
    return taken;
  }

  #readEnd(): number {
    this.#endRead = true;
    this.#endIfDone();
    return END;
  }

  #pause(): void {
    this.#paused = true;
    this.#connection?.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#connection?.resume();
  }

  readonly #handleFinSent = (error?: Error | null): void => {
    if (this.#over) return;
    if (error)
      return this.onLost(new QtunnelError('LINK_LOST', 'The connection was lost before everything was sent.', { cause: error }));
    this.#finFlushed = true;
    this.#endIfDone();
  };

  #releaseIfDone(): void {
    const connection = this.#connection;
    if (connection === null || !this.#finSent || !this.#finReceived) return;
    this.#connection = null;
    if (this.#paused) connection.resume();
    this.#host.release(connection);
  }

  #endIfDone(): void {
    if (!this.#endRead || !this.#finFlushed) return;
    this.#over = true;
    this.#host.forget(this);
  }

  #handleReset(payload: Uint8Array): void {
    const { reason, message } = decodeReset(payload);
    this.#cut(null);
    this.handler.onReset(reason, message);
  }

  #cut(last: Uint8Array | null): void {
    this.#over = true;
    this.#held = [];
    this.#incoming.clear();
    this.#connection?.cutOff(last);
    this.#host.forget(this);
  }
}

const FIN = frame(FRAME.FIN, new Uint8Array(0));
const NOBODY: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
/**
 * Bytes that one stream holds for its reader, `-buffer` allowing; what TLS has decrypted by the time it is told to stop (64 KiB) may come on
 * top. The kernel's socket buffers make the window; this needs to last only for one turn of the event loop.
 */
const RECEIVE_LIMIT = 256 * 1024;
/** Bytes that one stream holds for a connection that is not there yet. */
const HOLD_LIMIT = 256 * 1024;
/** Bytes that a frame costs besides its own while it waits. */
const HELD_OVERHEAD = 256;
