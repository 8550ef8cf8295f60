/**
 * The largest datagram that the path carries, found by probes that nothing depends on (DPLPMTUD, RFC 8899). It begins with what passes nearly everywhere and
 * goes up step by step; when nothing of the present size comes through any more, it goes back to the beginning.
 *
 *     base ── answered ──▶ next larger ── answered ──▶ … ── no answer, thrice ──▶ rest ── 10 min ──▶ next larger
 *       ▲──────────────────────────── black hole ──────────────────────────────────┘
 */
export class PathMtu {
  readonly #sizes: readonly number[];
  /** The size in use, as an index. */
  #current = 0;
  #attempts = 0;
  #nextAt: number;
  /** The size that is being tried; 0 for none. */
  #tried = 0;

  /** `sizes` are UDP payloads in bytes, rising, of which the first is safe; `now` is in milliseconds. */
  constructor(sizes: readonly number[], now: number) {
    this.#sizes = sizes;
    this.#nextAt = sizes.length > 1 ? now : Infinity;
  }

  /** Bytes of UDP payload. */
  get size(): number {
    return this.#sizes[this.#current]!;
  }

  /** When `poll` is wanted; Infinity for never. */
  get deadline(): number {
    return this.#nextAt;
  }

  /** The size to probe now; 0 for none. `rtt` is in milliseconds. */
  poll(now: number, rtt: number): number {
    if (now < this.#nextAt) return 0;
    const next = this.#sizes[this.#current + 1];
    if (next === undefined || this.#attempts >= ATTEMPTS) {
      this.#tried = this.#attempts = 0;
      this.#nextAt = next === undefined ? Infinity : now + REST;
      return 0;
    }
    this.#attempts++;
    this.#tried = next;
    this.#nextAt = now + Math.max(2 * rtt, LEAST_WAIT);
    return next;
  }

  /** A probe of `size` has come through. Returns whether the size in use has changed. */
  handleAnswer(size: number, now: number): boolean {
    if (size !== this.#tried || size !== this.#sizes[this.#current + 1]) return false;
    this.#current++;
    this.#tried = this.#attempts = 0;
    this.#nextAt = now;
    return true;
  }

  /** Nothing of the size in use comes through. Returns whether there is a smaller one to go back to. */
  handleBlackHole(now: number): boolean {
    if (this.#current === 0) return false;
    this.#current = 0;
    this.#tried = this.#attempts = 0;
    this.#nextAt = now + REST_AFTER_LOSS;
    return true;
  }
}

const ATTEMPTS = 3;
/** Milliseconds (RFC 8899: PMTU_RAISE_TIMER). */
const REST = 600_000;
/** After what may have been an outage. */
const REST_AFTER_LOSS = 60_000;
const LEAST_WAIT = 500;
