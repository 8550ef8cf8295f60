import type { ResetReason } from '../protocol/reset.ts';

/** A TCP connection on its way through the tunnel. */
export interface TunnelConnection {
  abort(reason: ResetReason, message: string): void;
}

/** The connections of one tunnel, for its limit and for its end. */
export class Connections {
  readonly #all = new Set<TunnelConnection>();
  readonly #onEmpty = new Set<() => void>();

  get size(): number {
    return this.#all.size;
  }

  add(connection: TunnelConnection): void {
    this.#all.add(connection);
  }

  delete(connection: TunnelConnection): void {
    if (!this.#all.delete(connection) || this.#all.size > 0) return;
    for (const call of this.#onEmpty) call();
    this.#onEmpty.clear();
  }

  abortAll(reason: ResetReason, message: string): void {
    for (const connection of [...this.#all]) connection.abort(reason, message);
  }

  /** True as soon as there is no connection; false when there still is one after `timeout` milliseconds. */
  async drained(timeout: number): Promise<boolean> {
    if (this.#all.size === 0) return true;
    return await new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeout);
      this.#onEmpty.add(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }
}
