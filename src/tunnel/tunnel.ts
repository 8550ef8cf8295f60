import type { Address, TunnelSettings } from '../config/settings.ts';
import type { QtunnelError } from '../errors.ts';

/** A client inside a program may do without a local port: `listen` is null then. */
export type RunningSettings = Omit<TunnelSettings, 'listen'> & { readonly listen: Address | null };

/** New settings that are ready. Exactly one of the two is to be called. */
export interface SettingsChange {
  /** Comes to `discard` when the tunnel has been stopped meanwhile. */
  takeEffect(): void;
  /** Lets go of what was opened for them. */
  discard(): void;
}

/** A running tunnel, client or server. */
export interface Tunnel {
  readonly settings: RunningSettings;
  /** Connections that are open through it. */
  readonly connections: number;
  /**
   * Gets everything ready that these settings need, the first ones included, or throws and nothing has changed. Connections that are open stay as
   * they are. One after the other only.
   */
  prepare(settings: TunnelSettings): Promise<SettingsChange>;
  /** Accepts nothing more and waits up to `-drain-timeout` for the connections to end; true when they did. Ends with `close`. */
  drain(): Promise<boolean>;
  /** Ends everything at once. */
  close(reason: QtunnelError): Promise<void>;
}
