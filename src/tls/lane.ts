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
  sendReset(id: number, reason: ResetReason, message: string): void;
}

/**
 * A stream's beginning, which travels on the link's control connection: a connection of its own costs a handshake, and most streams are over before
 * they would need one. Each direction has `LANE` bytes there at most, so that nobody has to count credit.
 *
 *     byte 0 ── SMALL frames on the control connection ── offset of ATTACH ── DATA frames on the stream's own ──▶
 */
export class Lane {
  readonly id: number;
  /** Bytes that have been sent here, and that have come. */
  sent = 0;
  received = 0;
  readonly #host: LaneHost;
  /** What has come and nobody has read. */
  #queue: ReceiveQueue | null = null;
  /** Where the peer's bytes on the stream's own connection begin; `UNKNOWN` before its ATTACH. */
  #attachedAt = UNKNOWN;
  /** The peer's direction ends with what comes here. */
  #endsHere = false;
  #finReceived = false;

  constructor(host: LaneHost, id: number) {
    this.#host = host;
    this.id = id;
  }

  /** Whether a stream that is about to send `n` bytes more is better off with a connection of its own. */
  isOutgrownBySending(n: number): boolean {
    return n > LARGE_WRITE || this.sent + n > OUTGROWN;
  }

  get isOutgrownByReceiving(): boolean {
    return this.received > OUTGROWN;
  }

  get canSend(): boolean {
    return this.sent < LANE && this.#host.hasLaneRoom;
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
    return this.#finReceived || (this.#endsHere && this.isComplete);
  }

  /** Sends as much as there is room for and returns how many bytes that is. */
  send(bytes: Uint8Array): number {
    const most = Math.min(bytes.length, LANE - this.sent);
    let at = 0;
    while (at < most) {
      const end = Math.min(at + MAX_SMALL, most);
      if (!this.#host.sendSmall(this.id, at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))) break;
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
    const most = this.isAttached ? this.#attachedAt : LANE;
    if (this.#finReceived || this.received + bytes.length > most) throw this.#violation('sent more than it may');
    this.received += bytes.length;
    (this.#queue ??= new ReceiveQueue()).push(bytes);
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleFin(): void {
    if (this.#finReceived || (this.isAttached && !this.#endsHere)) throw this.#violation('sent FIN where it does not belong');
    this.#finReceived = true;
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleAttach(offset: number, ended: boolean): void {
    if (this.isAttached || offset < this.received || offset > LANE || (this.#finReceived && !ended))
      throw this.#violation('sent ATTACH where it does not belong');
    this.#attachedAt = offset;
    this.#endsHere = ended;
  }

  read(into: Uint8Array): number {
    return this.#queue?.read(into) ?? 0;
  }

  clear(): void {
    this.#queue?.clear();
  }

  #violation(what: string): QtunnelError {
    return new QtunnelError('PROTOCOL_VIOLATION', `The peer ${what} on stream ${this.id} of the control connection.`);
  }
}

const UNKNOWN = -1;
/** Bytes that each direction of a stream may send on the control connection. */
const LANE = 65_536;
/** Bytes from which on a stream is given a connection of its own; what is left of `LANE` lasts until that is there. */
const OUTGROWN = 32_768;
/** Bytes of one write that are no beginning of a short conversation. */
const LARGE_WRITE = 16_384;
