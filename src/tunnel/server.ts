import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { QtunnelError } from '../errors.ts';
import { listBackends } from '../config/settle.ts';
import type { Address, TunnelSettings } from '../config/settings.ts';
import { formatNamed } from '../config/values.ts';
import { formatFingerprint } from '../identity/fingerprint.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import { formatAddress } from '../link/address.ts';
import type { Refusal } from '../link/options.ts';
import type { Link, LinkStream, OpenRequest } from '../link/link.ts';
import { rateLimited, type RateLimitedLog } from '../observe/rate-limit.ts';
import { Accounts } from './accounts.ts';
import { BackendConnection } from './backend-connection.ts';
import { Bandwidth, partOf, throttled } from './bandwidth.ts';
import { clientOf } from './connection-log.ts';
import { Connections } from './connections.ts';
import type { TunnelContext } from './context.ts';
import { drained } from './drain.ts';
import { Listeners } from './listeners.ts';
import type { LoadedAuth } from './security.ts';
import { Shedding } from './shedding.ts';
import { OWN, type Supplies } from './supplies.ts';
import type { SettingsChange, Tunnel } from './tunnel.ts';
import { WatchedSet } from './watched-set.ts';

/** Starts the server's side. @throws QtunnelError `LISTEN_FAILED`, and what loading its certificate and secret throws. */
export async function startServerTunnel(settings: TunnelSettings, context: TunnelContext): Promise<ServerTunnel> {
  const tunnel = new ServerTunnel(settings, context);
  const { takeEffect } = await tunnel.prepare(settings);
  takeEffect();
  return tunnel;
}

/** Takes links from clients and ends their streams on a TCP backend. Nothing is open before its first settings have taken effect. */
export class ServerTunnel implements Tunnel {
  #settings: TunnelSettings;
  readonly #context: TunnelContext;
  readonly #strangersLog: RateLimitedLog;
  readonly #supplies: Supplies;
  readonly #shedding: Shedding;
  readonly #connections: Connections;
  readonly #accounts = new Accounts();
  readonly #bandwidth = new Bandwidth(null);
  readonly #links = new WatchedSet<Link>();
  readonly #listeners: Listeners;
  #fingerprint = '';
  #stopping = false;

  constructor(settings: TunnelSettings, context: TunnelContext, supplies: Supplies = OWN) {
    this.#settings = settings;
    this.#context = context;
    this.#supplies = supplies;
    this.#connections = new Connections(supplies.count);
    this.#shedding = new Shedding(supplies.room, context);
    const handler = {
      hasRoom: (socket: Socket | null) => socket === null || this.#shedding.refuse(socket) === null,
      onLink: (link: Link) => this.#handleLink(link),
      onTurnedAway: (error: QtunnelError, peer: string, port: number) => this.#handleFailure(port, error, peer),
      onRefusal: (transport: Link['transport'], refusal: Refusal) => context.metrics.strangerRefused(transport, refusal),
    };
    this.#listeners = new Listeners(handler, supplies);
    this.#strangersLog = rateLimited(context.log, { burst: 10, intervalMs: 10_000, now: () => performance.now() });
  }

  get settings(): TunnelSettings {
    return this.#settings;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Where it listens, with the real port when 0 was asked for. */
  get address(): Address {
    return this.#listeners.address;
  }

  /** SHA-256 of the certificate it shows: 64 lower-case hexadecimal digits. */
  get fingerprint(): string {
    return this.#fingerprint;
  }

  get links(): Link[] {
    return this.#links.list();
  }

  async prepare(settings: TunnelSettings): Promise<SettingsChange> {
    const { log, metrics } = this.#context;
    const loaded = await this.#supplies.loadAuth(settings, log);
    const { auth, clients } = loaded;
    const identity = await this.#supplies.loadIdentity(settings);
    const change = await this.#listeners.prepare(settings, identity, auth);
    const takeEffect = (): void => {
      if (this.#stopping) return change.discard();
      const handshakes = () => this.#listeners.handshakes;
      metrics.source = { clientmode: false, links: () => this.#links.list(), handshakes };
      for (const warning of identity.warnings) log.warn(warning);
      const asksAnew = settings.proxyProtocol && !this.#settings.proxyProtocol;
      this.#settings = settings;
      this.#accounts.use(clients ?? [], this.#supplies.parts);
      this.#bandwidth.setRate(partOf(settings.bandwidth, this.#supplies.parts));
      this.#fingerprint = identity.fingerprint;
      const closed = change.takeEffect();
      // What a client has to tell of its connections it is told when its link is made.
      for (const link of this.#links.list()) if (asksAnew || closed.has(link.transport)) link.drain();
      for (const link of this.#links.list()) if (this.#isStrange(link)) link.close(REMOVED);
      if (change.moves && this.#supplies.speaks) announceServer(log, settings, identity, this.#listeners, loaded);
    };
    return { takeEffect, discard: () => change.discard() };
  }

  async drain(): Promise<boolean> {
    this.#stopping = true;
    for (const link of this.#links.list()) link.drain();
    const listenersClosed = this.#listeners.close();
    const ended = await drained(this.#connections, this.#settings.drainTimeout, () => this.#links);
    await this.close(new QtunnelError('SHUTTING_DOWN', 'The server was stopped.'));
    await listenersClosed;
    return ended;
  }

  async close(reason: QtunnelError): Promise<void> {
    this.#stopping = true;
    const listenersClosed = this.#listeners.close();
    this.#connections.abortAll('SHUTDOWN', reason.message);
    for (const link of this.#links.list()) link.close(reason);
    this.#strangersLog.flush();
    await listenersClosed;
  }

  #handleLink(link: Link): void {
    const { log, metrics, events } = this.#context;
    if (this.#stopping) return link.close(new QtunnelError('SHUTTING_DOWN', 'The server is shutting down.'));
    // Its handshake may have begun before the client was removed.
    if (this.#isStrange(link)) return link.close(REMOVED);
    this.#links.add(link);
    events.onLinkUp(link);
    // That a client is here, and that it is gone, is said once, by the worker that keeps its link.
    const [level, up, down] = link.isBranch === true ? (['debug', 'branch_up', 'branch_down'] as const) : TOLD;
    const about = { ...clientOf(link), transport: link.transport, udp: link.udp, link: link.id, peer: link.peer };
    log[level]({ event: up, ...about }, `${calling(link)} is here over ${nameOf(link)}`);
    link.handler = {
      onStream: (stream, request) => this.#handleStream(link, stream, request),
      onStateChange: () => {},
      onClose: (reason) => {
        this.#links.delete(link);
        metrics.linkClosed(link);
        events.onLinkDown(link, reason);
        const fields = { event: down, ...about, code: reason.code, reason: reason.message };
        log[level](fields, `${calling(link)} is gone: ${reason.message}`);
      },
    };
  }

  #handleStream(link: Link, stream: LinkStream, request: OpenRequest): void {
    const account = this.#accounts.of(link.client ?? '') ?? null;
    const backend = account?.mayReach(request.target) === false ? undefined : this.#backendFor(request.target);
    if (backend === undefined) return this.#refuseTarget(link, stream, request);
    const shortage = this.#shedding.refuseToMake();
    if (shortage !== null) return stream.reset('RESOURCE', `the server has no room: ${shortage.message}`);
    const { maxConnections } = this.#settings;
    if (!this.#connections.admit(maxConnections)) {
      const message = `the server is at its limit of ${maxConnections} connections (-max-connections)`;
      this.#strangersLog.warn('limit', { event: 'limit', tag: request.tag, link: link.id }, message);
      return stream.reset('LIMIT', message);
    }
    if (account?.admit() === false) {
      this.#connections.forgo();
      const message = `the client is at its limit of ${account.rights.maxConnections} connections (max-connections in -clients)`;
      this.#strangersLog.warn(
        `limit ${link.client}`,
        { event: 'limit', tag: request.tag, link: link.id, ...clientOf(link) },
        message,
      );
      return stream.reset('LIMIT', message);
    }
    const limits = account === null ? [this.#bandwidth] : [account.bandwidth, this.#bandwidth];
    new BackendConnection(throttled(stream, limits), {
      account,
      backend,
      settings: this.#settings,
      request,
      link,
      context: this.#context,
      connections: this.#connections,
      shedding: this.#shedding,
    });
  }

  #isStrange({ client = '' }: Link): boolean {
    return this.#accounts.of(client) === undefined;
  }

  #backendFor(target: string): Address | undefined {
    const { backend, backends } = this.#settings;
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
    this.#strangersLog.warn(
      'target',
      { event: 'dial_failed', tag, link: link.id, ...clientOf(link), reason: 'NO_BACKEND', target },
      message,
    );
    stream.reset('NO_BACKEND', message);
  }

  #handleFailure(port: number, error: QtunnelError, peer: string): void {
    this.#context.metrics.handshakeFailed(error.code);
    this.#context.events.onTurnedAway(error, peer);
    const fields = { event: 'handshake_failed', peer, code: error.code, port };
    this.#strangersLog.warn(error.code, fields, `turned ${peer} away: ${error.message}`);
  }
}

function calling({ client = '', peer }: Link): string {
  return client === '' ? `client ${peer}` : `client ${client} (${peer})`;
}

function nameOf(link: Link): string {
  return link.transport === 'quic' ? 'QUIC' : 'TLS';
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
function credentialsFor({ given, clients, keys }: LoadedAuth, { fingerprint }: ServerIdentity): string {
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
const REMOVED = new QtunnelError('AUTH_REJECTED', 'The client is not in -clients any more.');
const TOLD = ['info', 'link_up', 'link_down'] as const;
