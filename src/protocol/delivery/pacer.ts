/**
 * Spreads what is sent over time: bytes may go as fast as `rate` says, with so much saved up as timers of a millisecond need. Bursts larger than that
 * fill the queue of the slowest link on the way.
 */
export class Pacer {
  #allowed = FIRST_BURST;
  #rate = Infinity;
  #at: number;

  /** `now` is in milliseconds. */
  constructor(now: number) {
    this.#at = now;
  }

  /** Brings what may go up to date; `rate` is in bytes a millisecond. */
  handleTime(now: number, rate: number): void {
    const passed = Math.max(0, now - this.#at);
    this.#at = now;
    this.#rate = rate;
    if (rate === Infinity) this.#allowed = Infinity;
    else
      this.#allowed = Math.min((this.#allowed === Infinity ? 0 : this.#allowed) + rate * passed, rate * MOST_SAVED + LEAST_BURST);
  }

  mayGo(): boolean {
    return this.#allowed > 0;
  }

  handleSent(bytes: number): void {
    this.#allowed -= bytes;
  }

  /** When more may go, in milliseconds; Infinity while nothing is held back. */
  deadline(): number {
    return this.#allowed > 0 ? Infinity : this.#at + Math.max((1 - this.#allowed) / this.#rate, LEAST_WAIT);
  }
}

/** Bytes before the first rate is known. */
const FIRST_BURST = 14_600;
/** Milliseconds of the rate: Node's timers come a millisecond or two late. */
const MOST_SAVED = 3;
/** Bytes. */
const LEAST_BURST = 4_096;
const LEAST_WAIT = 0.5;
