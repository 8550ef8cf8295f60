import net from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { rateLimited, type RateLimitedLog } from '../observe/rate-limit.ts';
import { ClientConnection, type ClientSurroundings } from './client-connection.ts';
import { Connections } from './connections.ts';
import type { TunnelContext } from './context.ts';
import { drained } from './drain.ts';
import { listenTcp } from './tcp-listener.ts';
import type { RunningSettings, Tunnel } from './tunnel.ts';
import type { Uplink } from './uplink.ts';
import { openUplink } from './uplink-factory.ts';

/** Starts the client's side. The link may come up later. @throws QtunnelError `LISTEN_FAILED`, and what loading secret and trust throws. */
export async function startClientTunnel(settings: RunningSettings, context: TunnelContext): Promise<ClientTunnel> {
  const uplink = await openUplink(settings, context);
  const server = await listenOn(settings.listen, context);
  return new ClientTunnel(settings, context, uplink, server);
}

/** Takes TCP connections and carries each over the uplink. */
export class ClientTunnel implements Tunnel {
  #settings: RunningSettings;
  readonly #context: TunnelContext;
  readonly #connections = new Connections();
  readonly #log: RateLimitedLog;
  #uplink: Uplink;
  #server: net.Server | null;

  constructor(settings: RunningSettings, context: TunnelContext, uplink: Uplink, server: net.Server | null) {
    this.#settings = settings;
    this.#context = context;
    this.#uplink = uplink;
    this.#server = server;
    this.#log = rateLimited(context.log, { burst: 10, intervalMs: 10_000, now: () => performance.now() });
    context.metrics.source = { clientmode: true, links: () => this.#uplink.links };
    this.#attach(server);
    this.#uplink.start();
  }

  get settings(): RunningSettings {
    return this.#settings;
  }

  get connections(): number {
    return this.#connections.size;
  }

  get uplink(): Uplink {
    return this.#uplink;
  }

  /** For connections that do not come in over the local port. */
  get surroundings(): ClientSurroundings {
    return {
      uplink: this.#uplink,
      context: this.#context,
      connections: this.#connections,
      log: this.#log,
      dialTimeout: this.#settings.dialTimeout,
    };
  }

  /** Where it listens, with the real port when 0 was asked for; null when it does not listen. */
  get address(): Address | null {
    return this.#server?.listening === true ? addressOf(this.#server) : null;
  }

  async prepare(settings: RunningSettings): Promise<() => void> {
    const uplink = await openUplink(settings, this.#context);
    const moved = !isDeepStrictEqual(settings.listen, this.#settings.listen);
    const server = moved ? await listenOn(settings.listen, this.#context) : null;
    return () => {
      this.#settings = settings;
      this.#replaceUplink(uplink);
      if (!moved) return;
      this.#server?.close();
      this.#server = server;
      this.#attach(server);
    };
  }

  async drain(): Promise<boolean> {
    this.#server?.close();
    const ended = await drained(this.#connections, this.#settings.drainTimeout, () => {
      this.#uplink.stop();
      return this.#uplink.open;
    });
    await this.close(new QtunnelError('SHUTTING_DOWN', 'The client was stopped.'));
    return ended;
  }

  close(reason: QtunnelError): Promise<void> {
    this.#server?.close();
    this.#connections.abortAll('SHUTDOWN', reason.message);
    this.#uplink.stop(reason);
    this.#log.flush();
    return Promise.resolve();
  }

  /** The old uplink's links carry their connections to their ends. */
  #replaceUplink(uplink: Uplink): void {
    const old = this.#uplink;
    this.#uplink = uplink;
    uplink.start();
    old.stop();
  }

  #attach(server: net.Server | null): void {
    if (server === null) return;
    server.on('connection', (socket) => this.#accept(socket));
    this.#context.log.info(
      { event: 'listening', tcp: formatAddress(addressOf(server)) },
      `listening on TCP ${formatAddress(addressOf(server))}`,
    );
  }

  #accept(socket: net.Socket): void {
    const { maxConnections } = this.#settings;
    if (this.#connections.size >= maxConnections) {
      this.#log.warn('limit', { event: 'limit' }, `a connection was refused: ${maxConnections} are open (-max-connections)`);
      socket.on('error', () => {}).resetAndDestroy();
      return;
    }
    new ClientConnection(socket, this.surroundings);
  }
}

async function listenOn(listen: Address | null, { log }: TunnelContext): Promise<net.Server | null> {
  return listen === null ? null : await listenTcp(listen, log);
}

function addressOf(server: net.Server): Address {
  const { address, port } = server.address() as net.AddressInfo;
  return { host: address, port };
}
