/** QUIC streams that have ended here but perhaps not in quiche: their last bytes may be under way still. */
export class Lingering {
  readonly #ids = new Set<number>();
  readonly #isPending: (id: number) => boolean;
  #pruneAt = BEFORE_PRUNE;

  /** `isPending` says whether quiche still has something to do for a stream. */
  constructor(isPending: (id: number) => boolean) {
    this.#isPending = isPending;
  }

  add(id: number): void {
    this.#ids.add(id);
    if (this.#ids.size > this.#pruneAt) this.prune();
  }

  /** Forgets those that quiche is through with, and returns how many are left. */
  prune(): number {
    for (const id of this.#ids) if (!this.#isPending(id)) this.#ids.delete(id);
    this.#pruneAt = BEFORE_PRUNE + 2 * this.#ids.size;
    return this.#ids.size;
  }
}

const BEFORE_PRUNE = 256;
