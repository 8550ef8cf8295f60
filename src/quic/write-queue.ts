/**
 * What quiche holds of streams and has not sent. Its own window is wide open when the packetizer keeps the pace, and it would take whatever it is given; packets
 * that are made late can still be of the stream that is most urgent.
 */
export class WriteQueue {
  /** Or a few more: known exactly each time that quiche has nothing left to send. */
  #bytes = 0;
  #holdsData = false;
  #refused = false;

  /** Whether quiche may hold bytes of streams. */
  get holdsData(): boolean {
    return this.#holdsData;
  }

  /** Whether something was refused for want of room since `handleTurnEnd`. */
  get refused(): boolean {
    return this.#refused;
  }

  /** How many of `length` bytes quiche may be given; `rate` is the path's in bytes a millisecond, null where quiche keeps the pace itself. */
  room(length: number, rate: number | null): number {
    if (rate === null) return length;
    const room = Math.min(Math.max(rate * DURATION, LEAST), MOST) - this.#bytes;
    if (room < length) this.#refused = true;
    return Math.max(0, Math.min(room, length));
  }

  handleTaken(bytes: number): void {
    this.#bytes += bytes;
    if (bytes > 0) this.#holdsData = true;
  }

  /** A packet of `length` bytes was sent. */
  handleSent(length: number): void {
    this.#bytes = Math.max(0, this.#bytes - Math.max(0, length - PACKET_OVERHEAD));
  }

  /** quiche has nothing left to send. */
  handleEmpty(): void {
    this.#bytes = 0;
    this.#holdsData = false;
  }

  handleTurnEnd(): void {
    this.#refused = false;
  }
}

/** Milliseconds of what the path carries, in bytes within these bounds. */
const DURATION = 4;
const LEAST = 64 * 1024;
const MOST = 1024 * 1024;
/** Bytes of a packet that are no stream's, at most for most packets. */
const PACKET_OVERHEAD = 64;
