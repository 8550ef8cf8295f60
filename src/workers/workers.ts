import type { Logger } from 'pino';
import type { ProcessSettings, TunnelSettings } from '../config/settings.ts';
import type { QtunnelError } from '../errors.ts';
import type { Counts } from '../observe/counts.ts';
import type { TunnelSnapshot } from '../observe/tunnel-metrics.ts';
import type { Ports } from '../ports/ports.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import type { Tunnel } from '../tunnel/tunnel.ts';
import { WorkerPool } from './pool.ts';
import { ShardedClient } from './sharded-client.ts';
import { ShardedServer } from './sharded-server.ts';
import { loadSocketCalls, type ProcessSockets } from '../ports/socket-calls.ts';

/** Worker threads that share the tunnels of the process. */
export interface Workers {
  /** A tunnel that does nothing yet, in all workers. */
  tunnel(settings: TunnelSettings, context: TunnelContext): Tunnel;
  /** A tunnel's numbers are not asked for any more. */
  forget(tag: string): void;
  setLogLevel(level: ProcessSettings['logLevel']): void;
  /** Resolves when a worker has failed. */
  readonly failed: Promise<QtunnelError>;
  /** Resolves when all of them have answered. */
  answer(): Promise<void>;
  /** Ends the threads, and with them what still runs there. */
  close(): Promise<void>;
}

/** Starts `count` workers whose numbers come to `counts`; null where the system cannot share its sockets among threads. */
export function startWorkers(count: number, log: Logger, counts: Counts, ports: Ports): Workers | null {
  const calls = loadSocketCalls();
  return calls === null ? null : new TunnelWorkers(count, log, counts, { calls, ports });
}

class TunnelWorkers implements Workers {
  readonly #pool: WorkerPool;
  readonly #sockets: ProcessSockets;
  readonly #counts: Counts;
  /** What each worker said last. */
  readonly #snapshots: ReadonlyMap<string, TunnelSnapshot>[] = [];

  constructor(count: number, log: Logger, counts: Counts, sockets: ProcessSockets) {
    this.#pool = new WorkerPool(count, log);
    this.#sockets = sockets;
    this.#counts = counts;
    counts.refresh = () => this.#refresh();
  }

  get failed(): Promise<QtunnelError> {
    return this.#pool.failed;
  }

  tunnel(settings: TunnelSettings, context: TunnelContext): Tunnel {
    return settings.clientmode
      ? new ShardedClient(settings, context, this.#pool, this.#sockets)
      : new ShardedServer(settings, context, this.#pool, this.#sockets);
  }

  forget(tag: string): void {
    this.#pool.tellAll((port) => port.tell('forget', tag));
  }

  setLogLevel(level: ProcessSettings['logLevel']): void {
    this.#pool.tellAll((port) => port.tell('setLogLevel', level));
  }

  async answer(): Promise<void> {
    await this.#pool.all((port) => port.call('answer', null));
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  /** A worker that does not answer in time counts with what it said before: whoever watches should see the others. */
  async #refresh(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, LONGEST_ANSWER)));
    const asked = this.#pool.ports.map(async (port, index) => {
      this.#snapshots[index] = await port.call('snapshot', null);
    });
    await Promise.race([Promise.allSettled(asked), late]);
    clearTimeout(timer);
    const known = this.#snapshots.filter((snapshot) => snapshot !== undefined);
    for (const tunnel of this.#counts.tunnels) {
      tunnel.show(known.map((snapshot) => snapshot.get(tunnel.tag)).filter((snapshot) => snapshot !== undefined));
    }
  }
}

/** Milliseconds. */
const LONGEST_ANSWER = 1_000;
