import type net from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { TunnelSettings } from '../config/settings.ts';
import type { QtunnelError } from '../errors.ts';
import type { Ports } from '../ports/ports.ts';
import { addressOf, announceClient } from '../tunnel/client.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { loadAuth } from '../tunnel/security.ts';
import { listenTcp } from '../tunnel/tcp-listener.ts';
import type { SettingsChange, Tunnel } from '../tunnel/tunnel.ts';
import type { WorkerPool } from './pool.ts';
import { WorkerParts } from './sharded-tunnel.ts';
import type { ProcessSockets } from '../ports/socket-calls.ts';

/** A client in several workers: the main thread accepts the connections and gives each to a worker; each worker has a link of its own. */
export class ShardedClient implements Tunnel {
  #settings: TunnelSettings;
  readonly #context: TunnelContext;
  readonly #ports: Ports;
  readonly #parts: WorkerParts;
  #server: net.Server | null = null;
  #stopping = false;

  constructor(settings: TunnelSettings, context: TunnelContext, pool: WorkerPool, { calls, ports }: ProcessSockets) {
    this.#settings = settings;
    this.#context = context;
    this.#ports = ports;
    this.#parts = new WorkerParts(pool, calls, context);
  }

  get settings(): TunnelSettings {
    return this.#settings;
  }

  get connections(): number {
    return this.#parts.tally.connections;
  }

  async prepare(settings: TunnelSettings): Promise<SettingsChange> {
    const { log, metrics } = this.#context;
    const { keys } = await loadAuth(settings, log);
    const moved = this.#server === null || !isDeepStrictEqual(settings.listen, this.#settings.listen);
    const give = (socket: net.Socket): void => this.#parts.give(socket, null);
    const server = moved ? await listenTcp(settings.listen, this.#parts.log, give, this.#ports.listen) : this.#server!;
    const discardServer = (): void => void (moved && server.close());
    try {
      await this.#parts.prepare(() => ({
        settings: { ...settings, listen: null },
        keys,
        identity: null,
        opened: { udp: null, tcp: null },
      }));
    } catch (error) {
      discardServer();
      throw error;
    }
    const discard = (): void => {
      discardServer();
      this.#parts.discard();
    };
    const takeEffect = (): void => {
      if (this.#stopping) return discard();
      metrics.source = { clientmode: true, links: () => [] };
      this.#settings = settings;
      void this.#parts.takeEffect().catch(() => {});
      if (!moved) return;
      this.#server?.close();
      this.#server = server;
      announceClient(log, addressOf(server));
    };
    return { takeEffect, discard };
  }

  drain(): Promise<boolean> {
    this.#stop();
    return this.#parts.drain();
  }

  close(reason: QtunnelError): Promise<void> {
    this.#stop();
    return this.#parts.close(reason);
  }

  #stop(): void {
    this.#stopping = true;
    this.#server?.close();
  }
}
