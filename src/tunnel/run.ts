import type { Logger } from 'pino';
import type { Address, TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { closeWorkers } from '../identity/workers.ts';
import { formatAddress } from '../link/address.ts';
import { Metrics } from '../observe/metrics.ts';
import { type ObserveServer, startObserveServer } from '../observe/server.ts';
import { startClientTunnel } from './client.ts';
import { NO_EVENTS } from './events.ts';
import { startServerTunnel } from './server.ts';
import type { Tunnel } from './tunnel.ts';

export interface RunContext {
  readonly log: Logger;
  /** Where to serve metrics; null for nowhere. */
  readonly metrics: Address | null;
}

export interface RunningTunnels {
  /** Takes over new settings, and the files they name, without dropping connections. When it throws, nothing has changed. */
  reload(tunnels: readonly TunnelSettings[]): Promise<void>;
  /** Accepts nothing more; true when all connections ended by themselves within `-drain-timeout`. */
  drain(): Promise<boolean>;
  close(): Promise<void>;
  /** Settles when a tunnel cannot go on. */
  readonly failed: Promise<QtunnelError>;
}

/** Starts all tunnels of a process, or none. @throws QtunnelError when one of them cannot start. */
export async function runTunnels(tunnels: readonly TunnelSettings[], context: RunContext): Promise<RunningTunnels> {
  const running = new TunnelSet(context);
  try {
    await running.start(tunnels);
  } catch (error) {
    await running.close();
    throw error;
  }
  return running;
}

class TunnelSet implements RunningTunnels {
  readonly failed = new Promise<QtunnelError>(() => {});
  readonly #context: RunContext;
  readonly #metrics = new Metrics();
  readonly #tunnels = new Map<string, Tunnel>();
  #observer: ObserveServer | null = null;

  constructor(context: RunContext) {
    this.#context = context;
  }

  async start(tunnels: readonly TunnelSettings[]): Promise<void> {
    const { log, metrics } = this.#context;
    if (metrics !== null) {
      this.#observer = await startObserveServer(metrics, this.#metrics);
      const where = formatAddress({ ...this.#observer.address, host: metrics.host === '' ? '127.0.0.1' : metrics.host });
      log.info({ event: 'metrics', address: where }, `metrics on http://${where}/metrics`);
    }
    for (const settings of tunnels) this.#tunnels.set(settings.tag, await this.#startOne(settings));
  }

  async reload(tunnels: readonly TunnelSettings[]): Promise<void> {
    const started = new Map<string, Tunnel>();
    const takeEffect: (() => void)[] = [];
    try {
      for (const settings of tunnels) {
        const tunnel = this.#tunnels.get(settings.tag);
        if (tunnel !== undefined && tunnel.settings.clientmode === settings.clientmode)
          takeEffect.push(await tunnel.prepare(settings));
        else started.set(settings.tag, await this.#startOne(settings));
      }
    } catch (error) {
      const reason = new QtunnelError('SHUTTING_DOWN', 'The new configuration was not used.');
      await Promise.all([...started.values()].map((tunnel) => tunnel.close(reason)));
      throw error;
    }
    for (const apply of takeEffect) apply();
    const kept = new Set(tunnels.map((settings) => settings.tag));
    for (const [tag, tunnel] of this.#tunnels) {
      if (kept.has(tag) && !started.has(tag)) continue;
      this.#tunnels.delete(tag);
      if (!kept.has(tag)) this.#metrics.forget(tag);
      void tunnel.drain();
    }
    for (const [tag, tunnel] of started) this.#tunnels.set(tag, tunnel);
  }

  async drain(): Promise<boolean> {
    const drained = await Promise.all([...this.#tunnels.values()].map((tunnel) => tunnel.drain()));
    return drained.every(Boolean);
  }

  async close(): Promise<void> {
    const reason = new QtunnelError('SHUTTING_DOWN', 'qtunnel was stopped.');
    await Promise.all([...this.#tunnels.values()].map((tunnel) => tunnel.close(reason)));
    await this.#observer?.close();
    await closeWorkers();
  }

  async #startOne(settings: TunnelSettings): Promise<Tunnel> {
    const metrics = this.#metrics.tunnel(settings.tag, { clientmode: settings.clientmode, links: () => [] });
    const context = { log: this.#context.log.child({ tunnel: settings.tag }), metrics, events: NO_EVENTS };
    return settings.clientmode ? await startClientTunnel(settings, context) : await startServerTunnel(settings, context);
  }
}
