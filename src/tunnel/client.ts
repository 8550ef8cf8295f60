import net from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { rateLimited, type RateLimitedLog } from '../observe/rate-limit.ts';
import { Bandwidth, partOf } from './bandwidth.ts';
import { ClientConnection, type ClientSurroundings } from './client-connection.ts';
import { Connections } from './connections.ts';
import type { TunnelContext } from './context.ts';
import { drained } from './drain.ts';
import { Shedding } from './shedding.ts';
import { adoptSocket } from './socket-reader.ts';
import { listenTcp } from './tcp-listener.ts';
import { loadRoute, type Route } from './route.ts';
import { OWN, type Supplies } from './supplies.ts';
import type { RunningSettings, SettingsChange, Tunnel } from './tunnel.ts';
import { Uplinks } from './uplinks.ts';

/** Starts the client's side. The link may come up later. @throws QtunnelError `LISTEN_FAILED`, and what loading secret and trust throws. */
export async function startClientTunnel(settings: RunningSettings, context: TunnelContext): Promise<ClientTunnel> {
  const tunnel = new ClientTunnel(settings, context);
  const { takeEffect } = await tunnel.prepare(settings);
  takeEffect();
  return tunnel;
}

/** Takes TCP connections and carries each over the uplink. Nothing is open before its first settings have taken effect. */
export class ClientTunnel implements Tunnel {
  #settings: RunningSettings;
  readonly #context: TunnelContext;
  readonly #supplies: Supplies;
  readonly #connections: Connections;
  readonly #log: RateLimitedLog;
  readonly #shedding: Shedding;
  readonly #uplink = new Uplinks();
  readonly #bandwidth = new Bandwidth(null);
  /** What the uplink's links are made with. */
  #route: Route | null = null;
  #server: net.Server | null = null;
  #stopping = false;

  constructor(settings: RunningSettings, context: TunnelContext, supplies: Supplies = OWN) {
    this.#settings = settings;
    this.#context = context;
    this.#supplies = supplies;
    this.#connections = new Connections(supplies.count);
    this.#shedding = new Shedding(supplies.room, context);
    this.#log = rateLimited(context.log, { burst: 10, intervalMs: 10_000, now: () => performance.now() });
  }

  get settings(): RunningSettings {
    return this.#settings;
  }

  get connections(): number {
    return this.#connections.size;
  }

  get uplink(): Uplinks {
    return this.#uplink;
  }

  /** For connections that do not come in over the local port. */
  get surroundings(): ClientSurroundings {
    return {
      uplink: this.#uplink,
      context: this.#context,
      connections: this.#connections,
      log: this.#log,
      bandwidth: this.#bandwidth,
      target: this.#settings.target ?? '',
      dialTimeout: this.#settings.dialTimeout,
    };
  }

  /** Where it listens, with the real port when 0 was asked for; null when it does not listen. */
  get address(): Address | null {
    return this.#server?.listening === true ? addressOf(this.#server) : null;
  }

  async prepare(settings: RunningSettings): Promise<SettingsChange> {
    const route = await loadRoute(settings, this.#context, this.#supplies);
    // At the start there is nothing to lose: what is wrong with QUIC then is said when it is tried, and TLS may do.
    if (this.#route !== null) await route.prepare();
    const moved = this.#route === null || !isDeepStrictEqual(settings.listen, this.#settings.listen);
    const server = moved ? await this.#listen(settings.listen) : this.#server;
    const discard = (): void => {
      if (moved) server?.close();
    };
    const takeEffect = (): void => {
      if (this.#stopping) return discard();
      this.#context.metrics.source = {
        clientmode: true,
        links: () => this.#uplink.open.list(),
        servers: () => this.#uplink.servers,
      };
      this.#settings = settings;
      this.#bandwidth.setRate(partOf(settings.bandwidth, this.#supplies.parts));
      if (moved) this.#moveTo(server);
      this.#takeRoute(route);
    };
    return { takeEffect, discard };
  }

  /** Takes a connection that came in on the local port. */
  accept(socket: net.Socket): void {
    const { maxConnections } = this.#settings;
    if (!this.#connections.admit(maxConnections)) {
      this.#log.warn('limit', { event: 'limit' }, `a connection was refused: ${maxConnections} are open (-max-connections)`);
      socket.on('error', () => {}).resetAndDestroy();
      return;
    }
    if (this.#shedding.refuse(socket, this.#uplink.current()?.descriptorsDue) !== null) {
      this.#connections.forgo();
      socket.on('error', () => {}).resetAndDestroy();
      return;
    }
    adoptSocket(socket);
    new ClientConnection(socket, this.surroundings);
  }

  async drain(): Promise<boolean> {
    this.#stopping = true;
    this.#server?.close();
    const ended = await drained(this.#connections, this.#settings.drainTimeout, () => {
      this.#uplink.stop();
      return this.#uplink.open;
    });
    await this.close(new QtunnelError('SHUTTING_DOWN', 'The client was stopped.'));
    return ended;
  }

  close(reason: QtunnelError): Promise<void> {
    this.#stopping = true;
    this.#server?.close();
    this.#connections.abortAll('SHUTDOWN', reason.message);
    this.#uplink.stop(reason);
    this.#log.flush();
    return Promise.resolve();
  }

  /** A link that is up need not be made again when it would be made in the same way; without one, now is the time to try. */
  #takeRoute(route: Route): void {
    const same = this.#route !== null && isDeepStrictEqual(route.basis, this.#route.basis);
    if (same && this.#uplink.current() !== null) return;
    this.#route = route;
    this.#uplink.use(route.ways, route.handler, this.#settings.transport);
  }

  async #listen(address: Address | null): Promise<net.Server | null> {
    return address === null ? null : await listenTcp(address, this.#log, (socket) => this.accept(socket), this.#supplies.listen);
  }

  #moveTo(server: net.Server | null): void {
    this.#server?.close();
    this.#server = server;
    if (server === null) return;
    announceClient(this.#context.log, addressOf(server));
  }
}

/** Says where a client listens. */
export function announceClient(log: Logger, address: Address): void {
  log.info({ event: 'listening', tcp: formatAddress(address) }, `listening on TCP ${formatAddress(address)}`);
}

export function addressOf(server: net.Server): Address {
  const { address, port } = server.address() as net.AddressInfo;
  return { host: address, port };
}
