/**
 * Delays between attempts: exponential, capped, with full jitter over the upper half (Brooker, "Exponential Backoff And Jitter", 2015), so that
 * clients that lost the same server do not come back in step.
 */
export class Backoff {
  readonly #initial: number;
  readonly #maximum: number;
  readonly #random: () => number;
  #failures = 0;

  /** `initial` and `maximum` are milliseconds; `random` gives numbers in [0, 1). */
  constructor(initial: number, maximum: number, random: () => number) {
    this.#initial = initial;
    this.#maximum = maximum;
    this.#random = random;
  }

  /** Milliseconds to wait after one more failure: between half and all of min(maximum, initial × 2^(failures so far)). */
  next(): number {
    const ceiling = Math.min(this.#maximum, this.#initial * 2 ** Math.min(this.#failures, 32));
    this.#failures++;
    return ceiling * (0.5 + 0.5 * this.#random());
  }

  reset(): void {
    this.#failures = 0;
  }
}
