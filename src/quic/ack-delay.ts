/**
 * When an acknowledgement may wait. Alone it costs both sides as much as a packet with data, and the answer to what was received mostly follows soon and takes
 * it along. So one packet waits for that, a second does not (RFC 9000 §13.2.2). What else quiche may owe, such as a repetition, waits with it.
 */
export class AckDelay {
  /** Packets received since anything was sent that are more than acknowledgements. */
  #unanswered = 0;
  #deadline = Infinity;

  /** When all are acknowledged at the latest; Infinity while nothing is to be. Milliseconds on the connection's clock. */
  get deadline(): number {
    return this.#deadline;
  }

  handlePacket(length: number): void {
    if (length > ACK_ONLY) this.#unanswered++;
  }

  handleReceived(now: number): void {
    this.#deadline = Math.min(this.#deadline, now + LONGEST);
  }

  /** What was owed is being sent. */
  handleSent(): void {
    this.#unanswered = 0;
    this.#deadline = Infinity;
  }

  mayWait(now: number): boolean {
    return this.#unanswered < ACK_EVERY && now < this.#deadline;
  }
}

/** RFC 9000 §13.2.2. */
const ACK_EVERY = 2;
/** Bytes: larger than a packet with nothing but an acknowledgement. One with less data than fits into that may wait as well. */
const ACK_ONLY = 64;
/** Milliseconds: longer than a backend nearby takes to answer, far below the 25 that quiche tells the peer to expect. */
const LONGEST = 5;
