/** What is told of a set of durations, in milliseconds to the microsecond; exact as long as no more than `CAPACITY` were recorded. */
export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Durations of which percentiles are wanted, in bounded memory. */
export class Sample {
  #values = new Float64Array(FIRST_CAPACITY);
  #count = 0;
  #max = 0;
  readonly #random: () => number;

  /** @param random from 0 up to 1, for choosing when there are more than fit. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  get count(): number {
    return this.#count;
  }

  record(value: number): void {
    const index = this.#count < CAPACITY ? this.#count : Math.floor(this.#random() * (this.#count + 1));
    this.#count++;
    this.#max = Math.max(this.#max, value);
    if (index >= CAPACITY) return;
    if (index >= this.#values.length) this.#grow();
    this.#values[index] = value;
  }

  /** Null when nothing was recorded. */
  percentiles(): Percentiles | null {
    if (this.#count === 0) return null;
    const sorted = this.#values.subarray(0, Math.min(this.#count, CAPACITY)).toSorted();
    /** The smallest value that is not exceeded by this share of all (nearest rank). */
    const rank = (share: number): number => rounded(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0);
    return { count: this.#count, p50: rank(0.5), p90: rank(0.9), p99: rank(0.99), p999: rank(0.999), max: rounded(this.#max) };
  }

  #grow(): void {
    const larger = new Float64Array(this.#values.length * 2);
    larger.set(this.#values);
    this.#values = larger;
  }
}

function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

const FIRST_CAPACITY = 1024;
/** 8 MB. Beyond it each value has the same chance to be among those that are kept (reservoir sampling). */
export const CAPACITY = 1 << 20;
