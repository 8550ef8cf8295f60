import type { Address, TunnelSettings } from '../config/settings.ts';
import type { QtunnelError } from '../errors.ts';

/** A client inside a program may do without a local port: `listen` is null then. */
export type RunningSettings = Omit<TunnelSettings, 'listen'> & { readonly listen: Address | null };

/** A running tunnel, client or server. */
export interface Tunnel {
  readonly settings: RunningSettings;
  /** Connections that are open through it. */
  readonly connections: number;
  /**
   * Gets everything ready that new settings need and returns what makes them take effect, or throws and nothing has changed. Connections that are open
   * stay as they are.
   */
  prepare(settings: TunnelSettings): Promise<() => void>;
  /** Accepts nothing more and waits up to `-drain-timeout` for the connections to end; true when they did. Ends with `close`. */
  drain(): Promise<boolean>;
  /** Ends everything at once. */
  close(reason: QtunnelError): Promise<void>;
}
