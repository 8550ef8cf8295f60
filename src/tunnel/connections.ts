import type { ResetReason } from '../protocol/reset.ts';
import { WatchedSet } from './watched-set.ts';

/** A TCP connection on its way through the tunnel. */
export interface TunnelConnection {
  abort(reason: ResetReason, message: string): void;
}

/** The connections of one tunnel, for its limit and for its end. */
export class Connections extends WatchedSet<TunnelConnection> {
  abortAll(reason: ResetReason, message: string): void {
    for (const connection of this.list()) connection.abort(reason, message);
  }
}
