/** The packet with CONNECTION_CLOSE of a connection that closes, and when it is said again (RFC 9000 §10.2.1). */
export class Farewell {
  #packet: Uint8Array | null = null;
  /** How many datagrams have come since. */
  #unheeded = 0;
  #againAt = Infinity;
  #until = Infinity;

  /** The connection closes. */
  begin(now: number): void {
    this.#until = now + LONGEST_CLOSING;
  }

  /** Has it said again unasked, once, before quiche forgets the connection: in so many milliseconds, null when quiche does not say. */
  planAgain(now: number, quicheStays: number | null): void {
    this.#againAt = now + Math.min(LONGEST_CLOSING, quicheStays ?? LONGEST_CLOSING) / 2;
  }

  /** A packet that was sent while the connection closes. */
  handleSent(packet: Uint8Array): void {
    this.#packet = packet.slice();
  }

  /** Whether the packet was sent. */
  get isSaid(): boolean {
    return this.#packet !== null;
  }

  /** A datagram has come: a peer that goes on has missed it, and gets it again at its first datagram, its second, its fourth … Null for silence. */
  handleDatagram(): Uint8Array | null {
    const n = ++this.#unheeded;
    return (n & (n - 1)) === 0 ? this.#packet : null;
  }

  /**
   * The packet when it is time to say it unasked; null when it is not. A peer that has missed it and has nothing to say would find out at its next keepalive, when
   * nobody here knows any more why.
   */
  takeDue(now: number): Uint8Array | null {
    if (now < this.#againAt) return null;
    this.#againAt = Infinity;
    return this.#packet;
  }

  /** Whether a peer that missed it may no longer ask. */
  isOver(now: number): boolean {
    return now >= this.#until;
  }

  /** When something is due. */
  get deadline(): number {
    return Math.min(this.#until, this.#againAt);
  }
}

/** Milliseconds in which a peer that missed CONNECTION_CLOSE may ask again; quiche's own three probe timeouts are mostly shorter. */
const LONGEST_CLOSING = 1_000;
