import { QtunnelError } from '../errors.ts';
import { ReceiveQueue } from '../link/receive-queue.ts';
import { MAX_SMALL } from '../protocol/messages.ts';
import type { ResetReason } from '../protocol/reset.ts';

/** The link's control connection, as far as streams use it. */
export interface LaneHost {
  /** Whether `sendSmall` takes anything now. */
  readonly hasLaneRoom: boolean;
  /** Sends all of `bytes`, at most `MAX_SMALL`, in a SMALL frame, or nothing: then there is no room for now. */
  sendSmall(id: number, bytes: Uint8Array): boolean;
  sendFin(id: number): void;
  sendCredit(id: number, offset: number): void;
  sendReset(id: number, reason: ResetReason, message: string): void;
}

/**
 * A stream's beginning, which travels on the link's control connection: a connection of its own costs a handshake, and most streams are over before
 * they would need one. When there is none to be had, as from a server that drains, it stays there. Each direction has `WINDOW` bytes on the way at most.
 *
 *     byte 0 ── SMALL frames on the control connection ── offset of ATTACH ── DATA frames on the stream's own ──▶
 */
export class Lane {
  readonly id: number;
  /** Bytes that have been sent here, and that have come. */
  sent = 0;
  received = 0;
  /** How many the peer allows, and is allowed. */
  #allowed = WINDOW;
  #granted = WINDOW;
  readonly #host: LaneHost;
  #isHeld = false;
  /** Bytes that came in a row as they do when there are many; what is short, as in a conversation, takes away from them. */
  #bulkSent = 0;
  #bulkReceived = 0;
  /** What has come and nobody has read. */
  #queue: ReceiveQueue | null = null;
  /** Where the peer's bytes on the stream's own connection begin; `UNKNOWN` before its ATTACH. */
  #attachedAt = UNKNOWN;
  /** The peer's ATTACH has said that its direction ends with what comes here. */
  endsHere = false;
  #finReceived = false;

  constructor(host: LaneHost, id: number) {
    this.#host = host;
    this.id = id;
  }

  /** Whether a stream is better off with a connection of its own, whatever it does next. */
  get isOutgrown(): boolean {
    return Math.max(this.#bulkSent, this.#bulkReceived) > OUTGROWN;
  }

  /** Whether one is that is about to send `n` bytes. */
  isOutgrownBySending(n: number): boolean {
    return n > LARGE_WRITE || this.isOutgrown;
  }

  /** Bytes of both directions. */
  get total(): number {
    return this.sent + this.received;
  }

  /** Whether the peer takes more here and nothing is held, so that only the control connection's room may be wanting. */
  get maySend(): boolean {
    return !this.#isHeld && this.sent < this.#allowed;
  }

  get canSend(): boolean {
    return this.maySend && this.#host.hasLaneRoom;
  }

  /** Bytes that wait to be read. */
  get waiting(): number {
    return this.#queue?.length ?? 0;
  }

  /** The peer's ATTACH has come. */
  get isAttached(): boolean {
    return this.#attachedAt !== UNKNOWN;
  }

  /** Whether all is here that the peer sends this way, as far as is known: what comes on the stream's own connection follows. */
  get isComplete(): boolean {
    return this.#attachedAt === UNKNOWN || this.received === this.#attachedAt;
  }

  /** Whether the peer's direction has come to its end here. */
  get hasEnded(): boolean {
    return this.#finReceived || (this.endsHere && this.isComplete);
  }

  /** A connection is under way: what there is in bulk waits for it, on both sides, and leaves the control connection to others. */
  hold(): void {
    this.#isHeld = true;
  }

  /** There is none after all, or not for a while. */
  release(): void {
    this.#isHeld = false;
    this.#grant();
  }

  /** Sends as much as there is room for and returns how many bytes that is. */
  send(bytes: Uint8Array): number {
    const most = this.#isHeld ? 0 : Math.min(bytes.length, this.#allowed - this.sent);
    let at = 0;
    while (at < most) {
      const end = Math.min(at + MAX_SMALL, most);
      if (!this.#host.sendSmall(this.id, at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))) break;
      this.#bulkSent = bulk(this.#bulkSent, end - at);
      at = end;
    }
    this.sent += at;
    return at;
  }

  sendFin(): void {
    this.#host.sendFin(this.id);
  }

  sendReset(reason: ResetReason, message: string): void {
    this.#host.sendReset(this.id, reason, message);
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleSmall(bytes: Uint8Array): void {
    const most = this.isAttached ? this.#attachedAt : this.#granted;
    if (this.#finReceived || this.received + bytes.length > most) throw this.#violation('sent more than it may');
    this.received += bytes.length;
    this.#bulkReceived = bulk(this.#bulkReceived, bytes.length);
    (this.#queue ??= new ReceiveQueue()).push(bytes);
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleFin(): void {
    if (this.#finReceived || (this.isAttached && !this.endsHere)) throw this.#violation('sent FIN where it does not belong');
    this.#finReceived = true;
  }

  handleCredit(offset: number): void {
    this.#allowed = Math.max(this.#allowed, offset);
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleAttach(offset: number, ended: boolean): void {
    if (this.isAttached || offset < this.received || offset > this.#granted || (this.#finReceived && !ended))
      throw this.#violation('sent ATTACH where it does not belong');
    this.#attachedAt = offset;
    this.endsHere = ended;
  }

  read(into: Uint8Array): number {
    const n = this.#queue?.read(into) ?? 0;
    if (n > 0) this.#grant();
    return n;
  }

  clear(): void {
    this.#queue?.clear();
  }

  /** What is read may come again, as long as the peer has no other way. */
  #grant(): void {
    const most = this.received - this.waiting + WINDOW;
    if (this.#isHeld || this.isAttached || this.#finReceived || most - this.#granted < WINDOW / 2) return;
    this.#granted = most;
    this.#host.sendCredit(this.id, most);
  }

  #violation(what: string): QtunnelError {
    return new QtunnelError('PROTOCOL_VIOLATION', `The peer ${what} on stream ${this.id} of the control connection.`);
  }
}

function bulk(sum: number, n: number): number {
  return n >= NO_MESSAGE ? sum + n : Math.max(0, sum - NO_MESSAGE);
}

const UNKNOWN = -1;
/** Bytes that each direction of a stream may have on the control connection and unread. */
const WINDOW = 65_536;
/** Bytes of a frame that is more likely a part of something than a message by itself. */
const NO_MESSAGE = MAX_SMALL / 2;
/** Bytes in bulk from which on a stream is given a connection of its own; what is left of `WINDOW` lasts until that is there. */
const OUTGROWN = 32_768;
/** Bytes of one write that are no beginning of a short conversation. */
const LARGE_WRITE = 16_384;
