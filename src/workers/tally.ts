import type { SharedCount } from '../tunnel/supplies.ts';

/**
 * What the workers of one tunnel and the main thread know of each other at any moment, in memory that they share:
 *
 *     connections of worker 0 … n-1 │ whether worker 0 … n-1 has a link │ a lock
 */
export class Tally {
  readonly cells: Int32Array<SharedArrayBuffer>;
  readonly #workers: number;

  constructor(cells: Int32Array<SharedArrayBuffer>) {
    this.cells = cells;
    this.#workers = (cells.length - 1) / 2;
  }

  static make(workers: number): Tally {
    return new Tally(new Int32Array(new SharedArrayBuffer(4 * (2 * workers + 1))));
  }

  get connections(): number {
    let total = 0;
    for (let worker = 0; worker < this.#workers; worker++) total += Atomics.load(this.cells, worker);
    return total;
  }

  add(worker: number, connections: number): void {
    Atomics.add(this.cells, worker, connections);
  }

  setReady(worker: number, ready: boolean): void {
    Atomics.store(this.cells, this.#workers + worker, ready ? 1 : 0);
  }

  /** The worker with the fewest connections of those that have a link, or of all when none has. Among equals the one after `last`. */
  leastBusy(last: number): number {
    const anyReady = this.cells.subarray(this.#workers, 2 * this.#workers).some((ready) => ready === 1);
    let best = -1;
    for (let step = 1; step <= this.#workers; step++) {
      const worker = (last + step) % this.#workers;
      if (anyReady && Atomics.load(this.cells, this.#workers + worker) === 0) continue;
      if (best === -1 || Atomics.load(this.cells, worker) < Atomics.load(this.cells, best)) best = worker;
    }
    return best === -1 ? (last + 1) % this.#workers : best;
  }

  /** For a worker only: the main thread must not wait. */
  exclusively<T>(run: () => T): T {
    const lock = this.cells.length - 1;
    while (Atomics.compareExchange(this.cells, lock, 0, 1) !== 0) Atomics.wait(this.cells, lock, 1, LONGEST_WAIT);
    try {
      return run();
    } finally {
      Atomics.store(this.cells, lock, 0);
      Atomics.notify(this.cells, lock, 1);
    }
  }

  /** The streams of a server, each counted by the worker that gets it. */
  streams(worker: number): SharedCount {
    return {
      claim: (most) => {
        this.add(worker, 1);
        if (this.connections <= most) return true;
        this.add(worker, -1);
        return false;
      },
      release: () => this.add(worker, -1),
    };
  }

  /** The connections of a client, which the main thread counts when it gives them to a worker, so that it knows at once how busy that is. */
  accepted(worker: number): SharedCount {
    return {
      claim: (most) => {
        if (this.connections <= most) return true;
        this.add(worker, -1);
        return false;
      },
      release: () => this.add(worker, -1),
    };
  }
}

/** Milliseconds; a notification ends it sooner. */
const LONGEST_WAIT = 100;
