/** A set that can be waited for until it is empty. */
export class WatchedSet<T> {
  readonly #all = new Set<T>();
  readonly #onEmpty = new Set<() => void>();

  get size(): number {
    return this.#all.size;
  }

  add(member: T): void {
    this.#all.add(member);
  }

  /** Whether it was in it. */
  delete(member: T): boolean {
    const found = this.#all.delete(member);
    if (found && this.#all.size === 0) this.#tellEmpty();
    return found;
  }

  /** What is in it at this moment. */
  list(): T[] {
    return [...this.#all];
  }

  /** True as soon as it is empty; false when it is not after `timeout` milliseconds. */
  async emptied(timeout: number): Promise<boolean> {
    if (this.#all.size === 0) return true;
    return await new Promise((resolve) => {
      const empty = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        this.#onEmpty.delete(empty);
        resolve(false);
      }, timeout);
      this.#onEmpty.add(empty);
    });
  }

  #tellEmpty(): void {
    for (const call of this.#onEmpty) call();
    this.#onEmpty.clear();
  }
}
