/** Has pieces of work done one after another, in the order in which they were asked for. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** @returns what `work` returns; its failure does not hold up the next. */
  next<T>(work: () => T | Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** Resolves when what was asked for so far is over. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
