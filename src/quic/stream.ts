import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import type { ReceiveCredit, SendCredit } from '../protocol/credit.ts';
import { RESET_REASONS, resetReason, type ResetReason } from '../protocol/reset.ts';
import { type QuicConnection, StreamCut } from './connection.ts';

/** What a stream asks of its link. */
export interface StreamHost {
  readonly connection: QuicConnection;
  /** The stream could write if the congestion window were open; call `handleWritable` when it is. */
  waitForCapacity(stream: QuicStream): void;
  /** The stream has read half of what it granted. */
  creditDue(stream: QuicStream): void;
  sendReset(id: number, reason: ResetReason, message: string): void;
  /** The stream's handler stopped reading while there may be more: call `handleReadable` once more. */
  readAgain(stream: QuicStream): void;
  /** The peer broke the protocol. */
  handleViolation(message: string): void;
  /** The stream has ended in both directions, or was reset. */
  forget(stream: QuicStream, reset: boolean): void;
}

/**
 * One QUIC stream. It has ended when its end was read and FIN was handed to quiche; from then on, and after a reset, it is `over` and calls
 * nobody. FIN travels with a byte of its own (docs/PROTOCOL.md, "QUIC"), which is taken off again here.
 */
export class QuicStream implements LinkStream {
  readonly id: number;
  readonly receiveCredit: ReceiveCredit;
  handler: StreamHandler = NOBODY;
  readonly #host: StreamHost;
  readonly #sendCredit: SendCredit;
  /** The rest of the OPEN frame that goes before everything else; null once quiche has it. */
  #opening: Uint8Array | null;
  #wantsWrite = false;
  #ending = false;
  #finSent = false;
  /** quiche has given out the stream's end; it does so once. */
  #endSeen = false;
  /** The last `read` gave bytes, so there may be more. */
  #readOn = false;
  #endRead = false;
  #over = false;

  constructor(host: StreamHost, id: number, credit: { send: SendCredit; receive: ReceiveCredit }, opening: Uint8Array | null) {
    this.#host = host;
    this.id = id;
    this.#sendCredit = credit.send;
    this.receiveCredit = credit.receive;
    this.#opening = opening;
    if (opening !== null) this.#flushOpening();
  }

  read(into: Uint8Array): number {
    if (this.#endRead) return END;
    // Before it has been opened quiche does not know the stream, and the peer cannot have sent anything.
    if (this.#over || this.#opening !== null || into.length === 0) return NOTHING_YET;
    if (this.#endSeen) return this.#readEnd();
    const { connection } = this.#host;
    let n;
    try {
      n = connection.readStream(this.id, into);
    } catch (error) {
      this.#handleCut(error);
      return NOTHING_YET;
    }
    if (connection.finSeen) {
      if (n === 0) return this.#refuseEnd();
      this.#endSeen = true;
      n -= END_MARK.length;
    }
    this.#readOn = n > 0;
    if (n > 0) return this.#consume(n) ? n : NOTHING_YET;
    return this.#endSeen ? this.#readEnd() : NOTHING_YET;
  }

  write(chunk: Uint8Array): number {
    if (this.#over || this.#ending || chunk.length === 0) return 0;
    const allowed = this.#flushOpening() ? Math.max(0, Math.min(chunk.length, this.#sendCredit.available)) : 0;
    const taken = allowed === 0 ? 0 : this.#send(allowed === chunk.length ? chunk : chunk.subarray(0, allowed));
    if (taken < chunk.length && !this.#over) {
      this.#wantsWrite = true;
      if (taken < allowed) this.#host.waitForCapacity(this);
    }
    return taken;
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
      this.#host.handleViolation(`The peer sent more on stream ${this.id} than it was granted.`);
      return false;
    }
    credit.handleConsumed(n);
    if (credit.outstanding <= credit.window / 2) this.#host.creditDue(this);
    return true;
  }

  /** A CREDIT frame for this stream. */
  handleCredit(offset: number): void {
    if (this.#sendCredit.handleCredit(offset)) this.handleWritable();
  }

  /** There may be room: writes what waits and tells the handler. */
  handleWritable(): void {
    if (this.#over) return;
    if (!this.#flushOpening()) return;
    if (this.#ending) return this.#flushEnd();
    if (!this.#wantsWrite || this.#sendCredit.available <= 0) return;
    this.#wantsWrite = false;
    this.handler.onWritable();
  }

  handleReadable(): void {
    if (this.#over || this.#endRead) return;
    this.#readOn = false;
    this.handler.onReadable();
    // A handler that reads once a call must come to the end as well, also when nothing more arrives.
    if (this.#readOn && !this.#over) this.#host.readAgain(this);
  }

  /** The peer reset the stream, or the link is gone. */
  handleReset(reason: ResetReason, message: string): void {
    if (this.#over) return;
    this.#cut(RESET_REASONS[reason]);
    this.handler.onReset(reason, message);
  }

  #send(bytes: Uint8Array): number {
    try {
      const taken = this.#host.connection.writeStream(this.id, bytes, false);
      this.#sendCredit.handleSent(taken);
      return taken;
    } catch (error) {
      this.#handleCut(error);
      return 0;
    }
  }

  #flushOpening(): boolean {
    if (this.#opening === null) return true;
    const taken = this.#send(this.#opening);
    if (this.#opening === null) return true;
    this.#opening = taken === this.#opening.length ? null : this.#opening.subarray(taken);
    if (this.#opening === null) return true;
    this.#host.waitForCapacity(this);
    return false;
  }

  #flushEnd(): void {
    if (this.#finSent || !this.#flushOpening()) return;
    let taken;
    try {
      taken = this.#host.connection.writeStream(this.id, END_MARK, true);
    } catch (error) {
      return this.#handleCut(error);
    }
    if (taken === 0) return this.#host.waitForCapacity(this);
    this.#finSent = true;
    this.#finishIfEnded();
  }

  #finishIfEnded(): void {
    if (!this.#endRead || !this.#finSent) return;
    this.#over = true;
    this.#host.forget(this, false);
  }

  #refuseEnd(): number {
    this.#host.handleViolation(`The peer ended stream ${this.id} without the byte that marks an end.`);
    return NOTHING_YET;
  }

  #handleCut(error: unknown): void {
    if (!(error instanceof StreamCut)) throw error;
    this.handleReset(resetReason(error.code), '');
  }

  #cut(code: number): void {
    this.#over = true;
    this.#host.connection.cutStream(this.id, code);
    this.#host.forget(this, true);
  }
}

/** What carries FIN. */
const END_MARK = Uint8Array.of(0);
const NOBODY: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
