/** What was measured of one thing at one moment, by name. */
export type Sample = Readonly<Record<string, number>>;

export interface HistoryOptions {
  /** Samples that are kept. */
  readonly length: number;
  /** Things that are kept at once. What comes on top of that takes the place of what is gone; while there is nothing of that, it is not kept. */
  readonly most: number;
}

/** The last samples of many things, in memory that does not grow: a ring for each figure, and one of the times for all. */
export class History {
  readonly #options: HistoryOptions;
  /** Milliseconds since 1970; NaN where nothing was written yet. */
  readonly #times: Float64Array;
  readonly #series = new Map<string, Series>();
  #next = 0;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#times = new Float64Array(options.length).fill(Number.NaN);
  }

  /** Writes down one sample of each thing that is there. What has not been there for the whole length is forgotten. */
  add(now: number, samples: ReadonlyMap<string, Sample>): void {
    const slot = this.#next % this.#options.length;
    this.#times[slot] = now;
    for (const [key, series] of this.#series) {
      for (const ring of series.rings.values()) ring[slot] = Number.NaN;
      if (this.#next - series.last >= this.#options.length) this.#series.delete(key);
    }
    for (const [key, sample] of samples) this.#write(key, slot, sample);
    this.#next++;
  }

  /** The oldest first. */
  times(): number[] {
    return this.#inOrder(this.#times).filter((time) => !Number.isNaN(time));
  }

  keys(): string[] {
    return [...this.#series.keys()];
  }

  /** The figures of one thing under their names, each as long as `times()`; null where there was none. */
  read(key: string): Record<string, (number | null)[]> | null {
    const series = this.#series.get(key);
    if (series === undefined) return null;
    const { length } = this.times();
    const read = (ring: Float64Array) =>
      this.#inOrder(ring)
        .slice(-length)
        .map((value) => (Number.isFinite(value) ? value : null));
    return Object.fromEntries([...series.rings].map(([name, ring]) => [name, length === 0 ? [] : read(ring)]));
  }

  #write(key: string, slot: number, sample: Sample): void {
    let series = this.#series.get(key);
    if (series === undefined) {
      if (this.#series.size >= this.#options.most && !this.#forgetOldest()) return;
      series = { last: 0, rings: new Map() };
      this.#series.set(key, series);
    }
    series.last = this.#next;
    for (const [name, value] of Object.entries(sample)) {
      let ring = series.rings.get(name);
      if (ring === undefined) series.rings.set(name, (ring = new Float64Array(this.#options.length).fill(Number.NaN)));
      ring[slot] = value;
    }
  }

  /** Makes room by what was not there in the sample before either; false when all of it was. */
  #forgetOldest(): boolean {
    const [key, oldest] = [...this.#series].reduce((one, other) => (other[1].last < one[1].last ? other : one));
    return oldest.last < this.#next - 1 && this.#series.delete(key);
  }

  #inOrder(ring: Float64Array): number[] {
    const start = this.#next % this.#options.length;
    return [...ring.subarray(start), ...ring.subarray(0, start)];
  }
}

interface Series {
  /** The number of the sample that was written last. */
  last: number;
  readonly rings: Map<string, Float64Array>;
}
