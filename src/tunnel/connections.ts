import type { ResetReason } from '../protocol/reset.ts';
import type { SharedCount } from './supplies.ts';
import { WatchedSet } from './watched-set.ts';

/** A TCP connection on its way through the tunnel. */
export interface TunnelConnection {
  abort(reason: ResetReason, message: string): void;
}

/** The connections of one tunnel, for its limit and for its end. */
export class Connections extends WatchedSet<TunnelConnection> {
  readonly #shared: SharedCount | null;

  constructor(shared: SharedCount | null = null) {
    super();
    this.#shared = shared;
  }

  /** Whether one more may come when there may be `most`; its place is kept for it. */
  admit(most: number): boolean {
    return this.#shared === null ? this.size < most : this.#shared.claim(most);
  }

  /** Gives the place back that was kept for one that does not come. */
  forgo(): void {
    this.#shared?.release();
  }

  override delete(member: TunnelConnection): boolean {
    const found = super.delete(member);
    if (found) this.#shared?.release();
    return found;
  }

  abortAll(reason: ResetReason, message: string): void {
    for (const connection of this.list()) connection.abort(reason, message);
  }
}
