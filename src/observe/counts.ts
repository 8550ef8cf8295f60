import { TunnelMetrics } from './tunnel-metrics.ts';
import type { TunnelReadiness, TunnelSource } from './tunnel-metrics.ts';

/** What is counted in a process, as plain numbers in a `TunnelMetrics` per tunnel. All that there is where nobody asks for metrics. */
export class Counts {
  /** Called before the numbers are read: where several workers count, theirs are collected by it. */
  refresh: () => Promise<void> = () => Promise.resolve();
  readonly #tunnels = new Map<string, TunnelMetrics>();

  /** The numbers of the tunnel with this tag. A tunnel that was started again under the same tag goes on counting where it was. */
  tunnel(tag: string, source: TunnelSource): TunnelMetrics {
    const known = this.#tunnels.get(tag);
    const metrics = known ?? new TunnelMetrics(tag);
    metrics.source = source;
    this.#tunnels.set(tag, metrics);
    return metrics;
  }

  get tunnels(): readonly TunnelMetrics[] {
    return [...this.#tunnels.values()];
  }

  /** Shows a tunnel no more, because it was taken out of the configuration. */
  forget(tag: string): void {
    this.#tunnels.delete(tag);
  }

  /** Whether each tunnel can carry a connection now, in the order in which they were added. */
  async readiness(): Promise<TunnelReadiness[]> {
    await this.refresh();
    return this.tunnels.map((tunnel) => tunnel.readiness());
  }
}
