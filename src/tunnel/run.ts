import type { Logger } from 'pino';
import type { Address, TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { closeWorkers } from '../identity/workers.ts';
import { formatAddress } from '../link/address.ts';
import { Metrics } from '../observe/metrics.ts';
import { type ObserveServer, startObserveServer } from '../observe/server.ts';
import { ClientTunnel } from './client.ts';
import type { TunnelContext } from './context.ts';
import { NO_EVENTS } from './events.ts';
import { ServerTunnel } from './server.ts';
import type { SettingsChange, Tunnel } from './tunnel.ts';

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
  /** What each tag's tunnel was given; a tunnel that is replaced by one of the other side hands it on. */
  readonly #contexts = new Map<string, TunnelContext>();
  #tunnels = new Map<string, Tunnel>();
  /** Tunnels that were taken out of the configuration, until their connections have ended. */
  readonly #leaving = new Map<Tunnel, Promise<boolean>>();
  #stopping = false;
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
    await this.reload(tunnels);
  }

  async reload(tunnels: readonly TunnelSettings[]): Promise<void> {
    const next = new Map<string, Tunnel>();
    const changes: SettingsChange[] = [];
    try {
      for (const settings of tunnels) {
        const tunnel = this.#tunnelFor(settings);
        next.set(settings.tag, tunnel);
        changes.push(await tunnel.prepare(settings));
      }
      if (this.#stopping) throw new QtunnelError('SHUTTING_DOWN', 'qtunnel is being stopped: the new settings are not used.');
    } catch (error) {
      for (const change of changes) change.discard();
      this.#forgetUnused();
      throw error;
    }
    for (const change of changes) change.takeEffect();
    const before = this.#tunnels;
    this.#tunnels = next;
    for (const [tag, tunnel] of before) if (next.get(tag) !== tunnel) this.#letGo(tunnel);
    this.#forgetUnused();
  }

  async drain(): Promise<boolean> {
    this.#stopping = true;
    const drained = await Promise.all([...this.#leaving.values(), ...[...this.#tunnels.values()].map((tunnel) => tunnel.drain())]);
    return drained.every(Boolean);
  }

  async close(): Promise<void> {
    this.#stopping = true;
    const reason = new QtunnelError('SHUTTING_DOWN', 'qtunnel was stopped.');
    await Promise.all([...this.#leaving.keys(), ...this.#tunnels.values()].map((tunnel) => tunnel.close(reason)));
    await this.#observer?.close();
    await closeWorkers();
  }

  /** The one that runs under this tag, or a new one that does nothing yet. */
  #tunnelFor(settings: TunnelSettings): Tunnel {
    const { tag, clientmode } = settings;
    const running = this.#tunnels.get(tag);
    if (running?.settings.clientmode === clientmode) return running;
    const context = this.#contexts.get(tag) ?? this.#newContext(settings);
    return clientmode ? new ClientTunnel(settings, context) : new ServerTunnel(settings, context);
  }

  #newContext({ tag, clientmode }: TunnelSettings): TunnelContext {
    const metrics = this.#metrics.tunnel(tag, { clientmode, links: () => [] });
    const context = { log: this.#context.log.child({ tunnel: tag }), metrics, events: NO_EVENTS };
    this.#contexts.set(tag, context);
    return context;
  }

  #forgetUnused(): void {
    for (const tag of this.#contexts.keys()) {
      if (this.#tunnels.has(tag)) continue;
      this.#contexts.delete(tag);
      this.#metrics.forget(tag);
    }
  }

  #letGo(tunnel: Tunnel): void {
    const drained = tunnel.drain().finally(() => this.#leaving.delete(tunnel));
    this.#leaving.set(tunnel, drained);
  }
}
