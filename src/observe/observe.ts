import type { Address } from '../config/settings.ts';
import type { Listen } from '../ports/ports.ts';
import { Metrics } from './metrics.ts';
import { addMaxMemory, addRestarts } from './process-metrics.ts';
import { type ObserveServer, startObserveServer } from './server.ts';

/** What a process knows of itself besides its tunnels; null for what does not concern it. */
export interface ProcessFacts {
  /** Bytes of memory that it may have. */
  readonly maxMemory: number | null;
  /** How often it was started again under supervision. */
  readonly restarts: number | null;
}

export interface Observing {
  readonly metrics: Metrics;
  readonly server: ObserveServer;
}

/**
 * Begins to count for those who ask, and serves them. Loaded only where metrics are wanted: prom-client takes longer to load than all else that counts.
 * @throws QtunnelError as `startObserveServer` does.
 */
export async function startObserving(where: Address, { maxMemory, restarts }: ProcessFacts, listen: Listen): Promise<Observing> {
  const metrics = new Metrics();
  if (maxMemory !== null) addMaxMemory(metrics.registry, maxMemory);
  if (restarts !== null) addRestarts(metrics.registry, restarts);
  return { metrics, server: await startObserveServer(where, metrics, listen) };
}
