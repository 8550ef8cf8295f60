/**
 * Credit that grows with time and is used up by bytes. It may be overdrawn: who finds it above zero may pass what he has, and all wait until that is paid off, so that
 * the rate holds whatever the sizes are. Times are milliseconds of a steady clock.
 */
export class TokenBucket {
  /** Bytes a millisecond. */
  #rate: number;
  #tokens: number;
  #at: number;

  /** `rate` is bytes a second; Infinity for no limit. */
  constructor(rate: number, now: number) {
    this.#rate = rate / 1000;
    this.#at = now;
    this.#tokens = this.#most;
  }

  /** What was overdrawn is paid off at the new rate. */
  setRate(rate: number, now: number): void {
    this.#refill(now);
    this.#rate = rate / 1000;
    this.#tokens = rate === Infinity ? Infinity : Math.min(this.#tokens, this.#most);
  }

  /** Bytes that may pass now; zero or less: none. */
  available(now: number): number {
    this.#refill(now);
    return this.#tokens;
  }

  take(bytes: number): void {
    this.#tokens -= bytes;
  }

  /** Milliseconds until something may pass. */
  wait(now: number): number {
    const missing = LEAST - this.available(now);
    return missing > 0 ? missing / this.#rate : 0;
  }

  /** Bytes that one of several who wait should pass at a time. */
  get share(): number {
    return Math.round(Math.min(MOST_SHARE, Math.max(LEAST_SHARE, this.#rate * SHARE_TIME)));
  }

  get #most(): number {
    return Math.max(LEAST_BURST, this.#rate * BURST_TIME);
  }

  #refill(now: number): void {
    const passed = Math.max(0, now - this.#at);
    this.#at = Math.max(now, this.#at);
    if (passed > 0) this.#tokens = Math.min(this.#most, this.#tokens + passed * this.#rate);
  }
}

const LEAST = 1;
/** Milliseconds of silence that may be made up for, and bytes at least: what an idle connection says at once. */
const BURST_TIME = 20;
const LEAST_BURST = 16_384;
/** Milliseconds for which one holds up the others, and bytes at least and at most. */
const SHARE_TIME = 5;
const LEAST_SHARE = 1_400;
const MOST_SHARE = 65_536;
