import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import { ReceiveQueue } from '../link/receive-queue.ts';
import type { ReceiveCredit, SendCredit } from '../protocol/credit.ts';
import { RESET_REASONS, resetReason, type ResetReason } from '../protocol/reset.ts';
import type { QuicConnection } from './connection.ts';
import { StreamCut } from './quiche-streams.ts';

/** What a stream asks of its link. */
export interface StreamHost {
  readonly connection: QuicConnection;
  /** Bytes that a SMALL frame may carry; 0 when there are to be none. */
  readonly mostSmall: number;
  /** Sends all of `bytes` in a SMALL frame, or nothing: then there is no room for now. */
  trySendSmall(id: number, bytes: Uint8Array): boolean;
  /** Tells the peer that what follows in this direction comes on a QUIC stream of its own, and returns that one's id. */
  moveOut(id: number): number;
  sendDatagram(id: number, datagram: Uint8Array): boolean;
  sendFin(id: number): void;
  sendReset(id: number, reason: ResetReason, message: string): void;
  /** Whether it is this stream's turn to write: others that wait for room come first. */
  mayWrite(stream: QuicStream): boolean;
  /** The stream has written `written` bytes, and could write more if there were room; call `handleWritable` when there is. */
  waitForCapacity(stream: QuicStream, written: number): void;
  /** The stream has read half of what it granted. */
  creditDue(stream: QuicStream): void;
  /** The stream's handler stopped reading while there may be more: call `handleReadable` once more. */
  readAgain(stream: QuicStream): void;
  /** The peer broke the protocol. */
  handleViolation(message: string): void;
  /** The stream has ended in both directions, or was reset. */
  forget(stream: QuicStream, reset: boolean): void;
}

/**
 * One stream. Each direction by itself begins on the control stream, and moves to a QUIC stream of its own with the first write that is not small:
 *
 *     SMALL frames ── a write of more than `mostSmall` ──▶ QUIC stream (`#out`, `#in`)
 *          └── FIN                                             └── 0x00 with QUIC's FIN, taken off again here (docs/PROTOCOL.md, "QUIC");
 *                                                                  after a reset its reason instead
 *
 * It has ended when its end was read and its own end was handed on; from then on, and after a reset, it is `over` and calls nobody.
 */
export class QuicStream implements LinkStream {
  readonly id: number;
  readonly receiveCredit: ReceiveCredit;
  handler: StreamHandler = NOBODY;
  readonly #host: StreamHost;
  readonly #sendCredit: SendCredit;
  /** The QUIC streams that carry the rest of each direction; `NONE` while none does. */
  #out = NONE;
  #in = NONE;
  /** What was received, and taken out of quiche, and nobody has read; behind it what is in the SMALL frame that is being taken in. */
  #waiting: ReceiveQueue | null = null;
  #arriving: Uint8Array = NOTHING;
  /** `connection.received` when quiche last held nothing of the stream that could be read. */
  #receivedAtLook = 0;
  #wantsWrite = false;
  #smallDue = 0;
  #ending = false;
  #finSent = false;
  /** All that the peer has sent is here. */
  #endSeen = false;
  /** The last `read` gave bytes, so there may be more. */
  #readOn = false;
  #endRead = false;
  #over = false;

  constructor(host: StreamHost, id: number, credit: { send: SendCredit; receive: ReceiveCredit }) {
    this.#host = host;
    this.id = id;
    this.#sendCredit = credit.send;
    this.receiveCredit = credit.receive;
  }

  /** The QUIC stream that carries what comes in; -1 while none does. */
  get input(): number {
    return this.#in;
  }

  /** The QUIC stream that carries what goes out; -1 while none does. */
  get output(): number {
    return this.#out;
  }

  /** Bytes of the small write that there was no room for, which needs room for all of it; 0 when that is not what the stream waits for. */
  get smallDue(): number {
    return this.#smallDue;
  }

  read(into: Uint8Array): number {
    if (this.#endRead) return END;
    if (this.#over || into.length === 0) return NOTHING_YET;
    const n = this.#readArrived(into) || this.#readMoved(into);
    this.#readOn = n > 0;
    if (n > 0) return this.#consume(n) ? n : NOTHING_YET;
    return this.#endSeen && !this.#over ? this.#readEnd() : NOTHING_YET;
  }

  write(chunk: Uint8Array): number {
    if (this.#over || this.#ending || chunk.length === 0) return 0;
    const allowed = Math.max(0, Math.min(chunk.length, this.#sendCredit.available));
    const isSmall = this.#out === NONE && chunk.length <= this.#host.mostSmall;
    const taken =
      allowed === 0 || !this.#host.mayWrite(this)
        ? 0
        : this.#send(allowed === chunk.length ? chunk : chunk.subarray(0, allowed), isSmall);
    if (taken < chunk.length && !this.#over) {
      this.#wantsWrite = true;
      this.#smallDue = isSmall ? allowed : 0;
      if (taken < allowed) this.#host.waitForCapacity(this, taken);
    }
    return taken;
  }

  sendDatagram(datagram: Uint8Array): boolean {
    return !this.#over && this.#host.sendDatagram(this.id, datagram);
  }

  end(): void {
    if (this.#over || this.#ending) return;
    this.#ending = true;
    this.#flushEnd();
  }

  reset(reason: ResetReason, message = ''): void {
    if (this.#over) return;
    this.#host.sendReset(this.id, reason, message);
    this.#cut(RESET_REASONS[reason]);
  }

  /** A SMALL frame; `bytes` are valid during the call only. */
  handleSmall(bytes: Uint8Array): void {
    if (this.#over) return;
    if (this.#endSeen || this.#in !== NONE)
      return this.#host.handleViolation(`The peer sent SMALL on stream ${this.id}, which was past that.`);
    if ((this.#waiting?.length ?? 0) + bytes.length > this.receiveCredit.outstanding) return this.#refuseExcess();
    this.#arriving = bytes;
    this.handleReadable();
    if (this.#arriving.length > 0 && !this.#over) (this.#waiting ??= new ReceiveQueue()).push(this.#arriving);
    this.#arriving = NOTHING;
  }

  /** A MOVE frame: the rest comes on this QUIC stream. */
  handleMove(quicStream: number): void {
    if (this.#endSeen || this.#in !== NONE)
      return this.#host.handleViolation(`The peer moved stream ${this.id}, which was past that.`);
    this.#in = quicStream;
  }

  /** A FIN frame. */
  handleFin(): void {
    if (this.#endSeen || this.#in !== NONE)
      return this.#host.handleViolation(`The peer ended stream ${this.id}, which was past that.`);
    this.#endSeen = true;
    this.handleReadable();
  }

  /** A CREDIT frame. */
  handleCredit(offset: number): void {
    if (this.#sendCredit.handleCredit(offset)) this.handleWritable();
  }

  /** There may be room: writes what waits, or tells the handler; true when it did that. */
  handleWritable(): boolean {
    if (this.#over) return false;
    if (this.#ending) this.#flushEnd();
    else if (this.#wantsWrite && this.#sendCredit.available > 0) {
      this.#wantsWrite = false;
      this.handler.onWritable();
      return true;
    }
    return false;
  }

  handleReadable(): void {
    if (this.#over || this.#endRead) return;
    this.#readOn = false;
    this.handler.onReadable();
    // A handler that reads once a call must come to the end as well, also when nothing more arrives.
    if (this.#readOn && !this.#over) this.#host.readAgain(this);
    if (this.#in !== NONE && !this.#over) this.#boundUnread();
  }

  /** The peer reset the stream, or the link is gone. */
  handleReset(reason: ResetReason, message: string): void {
    if (this.#over) return;
    this.#cut(RESET_REASONS[reason]);
    this.handler.onReset(reason, message);
  }

  #readArrived(into: Uint8Array): number {
    if (this.#waiting !== null && this.#waiting.length > 0) return this.#waiting.read(into);
    const n = Math.min(into.length, this.#arriving.length);
    if (n === 0) return 0;
    into.set(n === this.#arriving.length ? this.#arriving : this.#arriving.subarray(0, n));
    this.#arriving = this.#arriving.subarray(n);
    return n;
  }

  #readMoved(into: Uint8Array): number {
    const { connection } = this.#host;
    // quiche does not know the stream before its first byte.
    if (this.#in === NONE || this.#endSeen || !connection.streams.isReadable(this.#in)) return 0;
    let n;
    try {
      n = connection.streams.read(this.#in, into);
    } catch (error) {
      this.#handleCut(error);
      return 0;
    }
    if (!connection.streams.finSeen) return n;
    if (n === 0) this.#host.handleViolation(`The peer ended stream ${this.id} without the byte that marks an end.`);
    this.#endSeen = true;
    const mark = into[n - 1] ?? 0;
    if (mark !== END_MARK[0]) {
      this.handleReset(resetReason(mark), '');
      return 0;
    }
    return Math.max(0, n - END_MARK.length);
  }

  /** What nobody reads waits in quiche, which holds whatever the peer sends. When that may be more than was granted, it is taken out and counted. */
  #boundUnread(): void {
    const { received } = this.#host.connection;
    const { outstanding } = this.receiveCredit;
    if (received - this.#receivedAtLook <= outstanding) return;
    this.#receivedAtLook = received;
    for (let n = this.#readMoved(UNREAD); n > 0; n = this.#readMoved(UNREAD)) {
      this.#waiting ??= new ReceiveQueue();
      this.#waiting.push(UNREAD.subarray(0, n));
      if (this.#waiting.length > outstanding) return this.#refuseExcess();
    }
  }

  #readEnd(): number {
    this.#endRead = true;
    this.#readOn = false;
    this.#finishIfEnded();
    return END;
  }

  /** Takes note that `n` bytes were read; false when the peer was not allowed to send them. */
  #consume(n: number): boolean {
    const credit = this.receiveCredit;
    if (n > credit.outstanding) {
      this.#refuseExcess();
      return false;
    }
    credit.handleConsumed(n);
    if (credit.outstanding <= credit.window / 2) this.#host.creditDue(this);
    return true;
  }

  #send(bytes: Uint8Array, isSmall: boolean): number {
    const taken = isSmall ? this.#sendSmall(bytes) : this.#sendMoved(bytes);
    this.#sendCredit.handleSent(taken);
    return taken;
  }

  #sendSmall(bytes: Uint8Array): number {
    return this.#host.trySendSmall(this.id, bytes) ? bytes.length : 0;
  }

  #sendMoved(bytes: Uint8Array): number {
    if (this.#out === NONE) this.#out = this.#host.moveOut(this.id);
    try {
      return this.#host.connection.streams.write(this.#out, bytes, false);
    } catch (error) {
      this.#handleCut(error);
      return 0;
    }
  }

  #flushEnd(): void {
    if (this.#finSent) return;
    if (this.#out === NONE) this.#host.sendFin(this.id);
    else if (!this.#sendEndMark()) return;
    this.#finSent = true;
    this.#finishIfEnded();
  }

  #sendEndMark(): boolean {
    try {
      if (this.#host.connection.streams.write(this.#out, END_MARK, true) > 0) return true;
    } catch (error) {
      this.#handleCut(error);
      return false;
    }
    this.#host.waitForCapacity(this, 0);
    return false;
  }

  #finishIfEnded(): void {
    if (!this.#endRead || !this.#finSent || this.#over) return;
    this.#over = true;
    this.#host.forget(this, false);
  }

  #refuseExcess(): void {
    this.#host.handleViolation(`The peer sent more on stream ${this.id} than it was granted.`);
  }

  #handleCut(error: unknown): void {
    if (!(error instanceof StreamCut)) throw error;
    // It was not the peer, which has to hear of it.
    if (error.code < 0 && !this.#over) this.#host.sendReset(this.id, 'RESET', 'the QUIC library failed');
    this.handleReset(resetReason(error.code), '');
  }

  #cut(code: number): void {
    this.#over = true;
    this.#waiting?.clear();
    this.#arriving = NOTHING;
    // An end that was written goes out with all that is before it.
    if (this.#out !== NONE && !this.#finSent) this.#host.connection.cutWriting(this.#out, Uint8Array.of(code));
    this.#host.forget(this, true);
  }
}

/** What carries FIN: any other byte is the reason of a reset. */
const END_MARK = Uint8Array.of(0);
const NONE = -1;
const NOTHING = new Uint8Array(0);
/** One for all streams of a thread. */
const UNREAD = new Uint8Array(65_536);
const NOBODY: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
