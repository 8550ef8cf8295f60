import type { Logger } from 'pino';
import type { TunnelMetrics } from '../observe/tunnel-metrics.ts';
import type { TunnelEvents } from './events.ts';

/** What a tunnel is given besides its settings. */
export interface TunnelContext {
  readonly log: Logger;
  readonly metrics: TunnelMetrics;
  readonly events: TunnelEvents;
}
