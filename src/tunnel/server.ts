import type { Logger } from 'pino';
import { QtunnelError } from '../errors.ts';
import { listBackends } from '../config/settle.ts';
import type { Address, TunnelSettings } from '../config/settings.ts';
import { formatNamed } from '../config/values.ts';
import { formatFingerprint } from '../identity/fingerprint.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import { formatAddress } from '../link/address.ts';
import type { Link, LinkStream, OpenRequest } from '../link/link.ts';
import { clientKey, Quota } from './quota.ts';
import type { Account } from './accounts.ts';
import { BackendConnection } from './backend-connection.ts';
import { Bandwidth, partOf, throttled } from './bandwidth.ts';
import { clientOf } from './connection-log.ts';
import { Connections } from './connections.ts';
import type { TunnelContext } from './context.ts';
import { drained } from './drain.ts';
import { LinkServer } from './link-server.ts';
import type { Listeners } from './listeners.ts';
import type { LoadedAuth } from './security.ts';
import { Shedding } from './shedding.ts';
import { OWN, type Supplies } from './supplies.ts';
import type { SettingsChange, Tunnel } from './tunnel.ts';

/** Starts the server's side. @throws QtunnelError `LISTEN_FAILED`, and what loading its certificate and secret throws. */
export async function startServerTunnel(settings: TunnelSettings, context: TunnelContext): Promise<ServerTunnel> {
  const tunnel = new ServerTunnel(settings, context);
  const { takeEffect } = await tunnel.prepare(settings);
  takeEffect();
  return tunnel;
}

/** Takes links from clients and ends their streams on a TCP backend. Nothing is open before its first settings have taken effect. */
export class ServerTunnel implements Tunnel {
  readonly #context: TunnelContext;
  readonly #supplies: Supplies;
  readonly #shedding: Shedding;
  readonly #connections: Connections;
  /** Connections of each client. */
  readonly #quota = new Quota();
  readonly #bandwidth = new Bandwidth(null);
  readonly #server: LinkServer;
  #stopping = false;

  constructor(settings: TunnelSettings, context: TunnelContext, supplies: Supplies = OWN) {
    this.#context = context;
    this.#supplies = supplies;
    this.#connections = new Connections(supplies.count);
    this.#shedding = new Shedding(supplies.room, context);
    this.#server = new LinkServer(settings, context, supplies, {
      shedding: this.#shedding,
      onStream: (link, stream, request, account) => this.#handleStream(link, stream, request, account),
      announce: (...about) => announceServer(context.log, ...about),
    });
  }

  get settings(): TunnelSettings {
    return this.#server.settings;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Where it listens, with the real port when 0 was asked for. */
  get address(): Address {
    return this.#server.address;
  }

  /** SHA-256 of the certificate it shows: 64 lower-case hexadecimal digits. */
  get fingerprint(): string {
    return this.#server.fingerprint;
  }

  get links(): Link[] {
    return this.#server.open.list();
  }

  async prepare(settings: TunnelSettings): Promise<SettingsChange> {
    const change = await this.#server.prepare(settings);
    const takeEffect = (): void => {
      if (!this.#stopping) this.#bandwidth.setRate(partOf(settings.bandwidth, this.#supplies.parts));
      change.takeEffect();
    };
    return { takeEffect, discard: () => change.discard() };
  }

  async drain(): Promise<boolean> {
    this.#stopping = true;
    const listenersClosed = this.#server.drain();
    const ended = await drained(this.#connections, this.settings.drainTimeout, () => this.#server.open);
    await this.close(new QtunnelError('SHUTTING_DOWN', 'The server was stopped.'));
    await listenersClosed;
    return ended;
  }

  async close(reason: QtunnelError): Promise<void> {
    this.#stopping = true;
    this.#connections.abortAll('SHUTDOWN', reason.message);
    await this.#server.close(reason);
  }

  #handleStream(link: Link, stream: LinkStream, request: OpenRequest, account: Account | null): void {
    const backend = account?.mayReach(request.target) === false ? undefined : this.#backendFor(request.target);
    if (backend === undefined) return this.#refuseTarget(link, stream, request);
    const shortage = this.#shedding.refuseToMake();
    if (shortage !== null) return stream.reset('RESOURCE', `the server has no room: ${shortage.message}`);
    const { maxConnections, maxConnectionsPerClient } = this.settings;
    if (!this.#connections.admit(maxConnections)) {
      const message = `the server is at its limit of ${maxConnections} connections (-max-connections)`;
      this.#server.strangersLog.warn('limit', { event: 'limit', tag: request.tag, link: link.id }, message);
      this.#context.metrics.limitReached('connections');
      return stream.reset('LIMIT', message);
    }
    const key = clientKey(link);
    const own = account?.rights.maxConnections ?? null;
    const most = own ?? maxConnectionsPerClient ?? Infinity;
    if (!this.#quota.take(key, most)) {
      this.#connections.forgo();
      const setBy = own === null ? '-max-connections-per-client' : 'max-connections in -clients';
      const message = `the client is at its limit of ${most} connections (${setBy})`;
      this.#server.strangersLog.warn(
        `limit ${key}`,
        { event: 'limit', tag: request.tag, link: link.id, ...clientOf(link) },
        message,
      );
      this.#context.metrics.limitReached('client_connections');
      return stream.reset('LIMIT', message);
    }
    const limits = account === null ? [this.#bandwidth] : [account.bandwidth, this.#bandwidth];
    new BackendConnection(throttled(stream, limits), {
      onOver: () => this.#quota.release(key),
      backend,
      settings: this.settings,
      request,
      link,
      context: this.#context,
      connections: this.#connections,
      shedding: this.#shedding,
    });
  }

  #backendFor(target: string): Address | undefined {
    const { backend, backends } = this.settings;
    if (target === '') return backend ?? undefined;
    return Object.hasOwn(backends, target) ? backends[target] : undefined;
  }

  /** The client is not told which names there are. */
  #refuseTarget(link: Link, stream: LinkStream, { tag, target }: OpenRequest): void {
    const message =
      target === ''
        ? 'The server has named backends only: choose one of its names with -target.'
        : `The server offers no backend "${target.slice(0, LONGEST_NAME)}" to this client: -target has to be one of the names in its -backend.`;
    this.#context.metrics.dialFailed('BACKEND_UNKNOWN');
    this.#server.strangersLog.warn(
      'target',
      { event: 'dial_failed', tag, link: link.id, ...clientOf(link), reason: 'NO_BACKEND', target },
      message,
    );
    stream.reset('NO_BACKEND', message);
  }
}

/** Says where a server listens, what its certificate is, and how a client reaches it. */
export function announceServer(
  log: Logger,
  settings: TunnelSettings,
  identity: ServerIdentity,
  listeners: Listeners,
  auth: LoadedAuth,
): void {
  const { udp, tcp } = listeners;
  const backends = listBackends(settings).map(formatNamed).join(', ');
  const { host, port } = listeners.address;
  const fields = {
    event: 'listening',
    ...(udp !== null && { udp: formatAddress(udp) }),
    ...(tcp !== null && { tcp: formatAddress(tcp) }),
    backend: backends,
    fingerprint: formatFingerprint(identity.fingerprint),
  };
  const where = [udp === null ? [] : [`UDP ${formatAddress(udp)}`], tcp === null ? [] : [`TCP ${formatAddress(tcp)}`]]
    .flat()
    .join(' and ');
  log.info(fields, `listening on ${where}, ${Object.keys(settings.backends).length === 0 ? 'backend' : 'backends'} ${backends}`);
  log.info({ event: 'fingerprint' }, `certificate ${formatFingerprint(identity.fingerprint)}`);
  const reachable = host === '' || host === '::' || host === '0.0.0.0' ? 'THIS-HOST' : host;
  const command = `qtunnel -clientmode ${settings.quic ? '-quic ' : ''}-listen=:8080 -backend=${formatAddress({ host: reachable, port })} ${credentialsFor(auth, identity)}${settings.backend === null ? ' -target=NAME' : ''}`;
  log.info({ event: 'client_command' }, `on the client: ${command}`);
  if (auth.given === null && auth.clients === null && auth.keys.authorities === null)
    log.warn('no -secret: whoever reaches this port can use the backend');
}

/** What a client needs on its command line to know the server and be known to it. */
export function credentialsFor({ given, clients, keys }: LoadedAuth, { fingerprint }: ServerIdentity): string {
  const named = given === null ? (clients ?? []) : [];
  const bySecret = given !== null || keys.clients?.some((client) => client.keys.length > 0) === true;
  const byCertificate = keys.authorities !== null || (!bySecret && named.length > 0);
  return [
    bySecret ? '-secret-file=FILE-WITH-THE-SAME-SECRET' : `-pin=${fingerprint}`,
    ...(bySecret && given === null ? ['-client-name=NAME'] : []),
    ...(byCertificate ? ['-cert-file=FILE -key-file=FILE'] : []),
  ].join(' ');
}

/** Characters of a name that is shown: longer ones are nobody's. */
const LONGEST_NAME = 64;
