import type { LevelChangeEventListener, Logger } from 'pino';
import type { Address, ProcessSettings, TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { closeWorkers } from '../identity/workers.ts';
import { formatAddress } from '../link/address.ts';
import { Counts } from '../observe/counts.ts';
import type { ObserveServer } from '../observe/server.ts';
import { OWN_PORTS, type Ports } from '../ports/ports.ts';
import { ROOM } from '../resources/room.ts';
import type { Workers } from '../workers/workers.ts';
import { ClientTunnel } from './client.ts';
import type { TunnelContext } from './context.ts';
import { NO_EVENTS } from './events.ts';
import { ServerTunnel } from './server.ts';
import { suppliesWith } from './supplies.ts';
import type { SettingsChange, Tunnel } from './tunnel.ts';

export interface RunContext {
  readonly log: Logger;
  /** Where to serve metrics; null for nowhere. */
  readonly metrics: Address | null;
  /** Threads that share the tunnels; one when left out. */
  readonly workers?: number;
  /** Bytes of memory that the process may have; null, or left out, for as many as there are. */
  readonly maxMemory?: number | null;
  /** This process's own when left out. */
  readonly ports?: Ports;
  /** How often the process has been started again under supervision; null, or left out, without it. */
  readonly restarts?: number | null;
}

/** What runs in a process, with settings of this kind. */
export interface Running<Settings> {
  /** Takes over new settings, and the files they name, without dropping connections. When it throws, nothing has changed. */
  reload(tunnels: readonly Settings[]): Promise<void>;
  /** Accepts nothing more; true when all connections ended by themselves within `-drain-timeout`. */
  drain(): Promise<boolean>;
  close(): Promise<void>;
  /** Settles when it cannot go on. */
  readonly failed: Promise<QtunnelError>;
}

export interface RunningTunnels extends Running<TunnelSettings> {
  /** Resolves when every thread that has a part in the tunnels has answered. */
  answer(): Promise<void>;
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
  readonly failed: Promise<QtunnelError>;
  #fail!: (error: QtunnelError) => void;
  readonly #context: RunContext;
  #counts = new Counts();
  /** What each tag's tunnel was given; a tunnel that is replaced by one of the other side hands it on. */
  readonly #contexts = new Map<string, TunnelContext>();
  #tunnels = new Map<string, Tunnel>();
  /** Tunnels that were taken out of the configuration, until their connections have ended. */
  readonly #leaving = new Map<Tunnel, Promise<boolean>>();
  #stopping = false;
  #observer: ObserveServer | null = null;
  #workers: Workers | null = null;

  constructor(context: RunContext) {
    this.#context = context;
    this.failed = new Promise((resolve) => (this.#fail = resolve));
    context.log.on('level-change', this.#handleLevel);
  }

  async start(tunnels: readonly TunnelSettings[]): Promise<void> {
    const { log, metrics, ports = OWN_PORTS, restarts = null, maxMemory = null } = this.#context;
    ROOM.memory.cap = maxMemory ?? Infinity;
    if (metrics !== null) {
      const { startObserving } = await import('../observe/observe.ts');
      const observing = await startObserving(metrics, { maxMemory, restarts }, ports.listen);
      this.#counts = observing.metrics;
      this.#observer = observing.server;
      const where = formatAddress({ ...observing.server.address, host: metrics.host === '' ? '127.0.0.1' : metrics.host });
      log.info({ event: 'metrics', address: where }, `metrics on http://${where}/metrics`);
    }
    await this.#startWorkers();
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

  async answer(): Promise<void> {
    await this.#workers?.answer();
  }

  async close(): Promise<void> {
    this.#stopping = true;
    const reason = new QtunnelError('SHUTTING_DOWN', 'qtunnel was stopped.');
    await Promise.all([...this.#leaving.keys(), ...this.#tunnels.values()].map((tunnel) => tunnel.close(reason)));
    await this.#observer?.close();
    await this.#workers?.close();
    this.#context.log.off('level-change', this.#handleLevel);
    await closeWorkers();
  }

  /** With one worker, the default, everything is here in the main thread, and nothing of this is loaded. */
  async #startWorkers(): Promise<void> {
    const { log, workers = 1, ports = OWN_PORTS } = this.#context;
    if (workers === 1) return;
    const { startWorkers } = await import('../workers/workers.ts');
    this.#workers = startWorkers(workers, log, this.#counts, ports);
    if (this.#workers === null) {
      log.warn({ event: 'workers', workers: 1 }, `-workers=${workers} needs Linux and the package koffi; going on with one worker`);
      return;
    }
    log.info({ event: 'workers', workers }, `${workers} workers`);
    this.#workers.failed.then(this.#fail, this.#fail);
  }

  /** A child of a pino logger keeps the level that it was made with; it shares its parent's listeners. */
  readonly #handleLevel: LevelChangeEventListener = (level, _value, _before, _valueBefore, logger): void => {
    if (logger !== this.#context.log) return;
    for (const { log } of this.#contexts.values()) log.level = level;
    this.#workers?.setLogLevel(level as ProcessSettings['logLevel']);
  };

  /** The one that runs under this tag, or a new one that does nothing yet. */
  #tunnelFor(settings: TunnelSettings): Tunnel {
    const { tag, clientmode } = settings;
    const running = this.#tunnels.get(tag);
    if (running?.settings.clientmode === clientmode) return running;
    const context = this.#contexts.get(tag) ?? this.#newContext(settings);
    if (this.#workers !== null) return this.#workers.tunnel(settings, context);
    const supplies = suppliesWith(this.#context.ports ?? OWN_PORTS);
    return clientmode ? new ClientTunnel(settings, context, supplies) : new ServerTunnel(settings, context, supplies);
  }

  #newContext({ tag, clientmode }: TunnelSettings): TunnelContext {
    const metrics = this.#counts.tunnel(tag, { clientmode, links: () => [] });
    const context = { log: this.#context.log.child({ tunnel: tag }), metrics, events: NO_EVENTS };
    this.#contexts.set(tag, context);
    return context;
  }

  #forgetUnused(): void {
    for (const tag of this.#contexts.keys()) {
      if (this.#tunnels.has(tag)) continue;
      this.#contexts.delete(tag);
      this.#counts.forget(tag);
      this.#workers?.forget(tag);
    }
  }

  #letGo(tunnel: Tunnel): void {
    const drained = tunnel.drain().finally(() => this.#leaving.delete(tunnel));
    this.#leaving.set(tunnel, drained);
  }
}
