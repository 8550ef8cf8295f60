import type { TunnelSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import type { Link, LinkStream, OpenRequest } from '../link/link.ts';
import type { LinkUse, Refusal } from '../link/options.ts';
import { rateLimited, type RateLimitedLog } from '../observe/rate-limit.ts';
import { type Account, Accounts, type ClientRights } from './accounts.ts';
import { clientOf } from './connection-log.ts';
import type { TunnelContext } from './context.ts';
import { Listeners } from './listeners.ts';
import type { LoadedAuth } from './security.ts';
import type { Shortage } from '../resources/room.ts';
import type { Shedding } from './shedding.ts';
import { clientKey, Quota } from './quota.ts';
import type { Supplies } from './supplies.ts';
import type { SettingsChange } from './tunnel.ts';
import { WatchedSet } from './watched-set.ts';

export interface LinkServerHandler {
  /** What its links are used for besides what clients open; nothing when left out. */
  readonly use?: LinkUse;
  /** Refuses clients while the process has too little of something. */
  readonly shedding: Shedding;
  /** A client is here. Its streams come from now on. */
  onLink?(link: Link): void;
  /** A client opened a stream; `account` is null for a client without a name. The callee sets `stream.handler`, or resets the stream. */
  onStream(link: Link, stream: LinkStream, request: OpenRequest, account: Account | null): void;
  onStateChange?(link: Link): void;
  /** A client is gone, and all its streams are. */
  onLinkClosed?(link: Link, reason: QtunnelError): void;
  /** The listeners moved: says where, and how clients come in. */
  announce(settings: TunnelSettings, identity: ServerIdentity, listeners: Listeners, loaded: LoadedAuth): void;
}

/** Takes links from clients that prove themselves, and hands on their streams. Nothing is open before its first settings have taken effect. */
export class LinkServer {
  /** All links that are not closed. */
  readonly open = new WatchedSet<Link>();
  /** For what strangers, and clients, can cause as often as they like. */
  readonly strangersLog: RateLimitedLog;
  #settings: TunnelSettings;
  readonly #context: TunnelContext;
  readonly #supplies: Supplies;
  readonly #handler: LinkServerHandler;
  readonly #accounts = new Accounts();
  /** Links of each client. */
  readonly #quota = new Quota();
  readonly #listeners: Listeners;
  #fingerprint = '';
  #stopping = false;

  constructor(settings: TunnelSettings, context: TunnelContext, supplies: Supplies, handler: LinkServerHandler) {
    this.#settings = settings;
    this.#context = context;
    this.#supplies = supplies;
    this.#handler = handler;
    this.#listeners = new Listeners(
      {
        hasRoom: (socket) => handler.shedding.refuseSocket(socket) === null,
        refuseLink: (who) => refusalOf(handler.shedding.refuseLink()) ?? this.#refuseFurther(who),
        onLink: (link) => this.#handleLink(link),
        onTurnedAway: (error, peer, port) => this.#handleFailure(port, error, peer),
        onRefusal: (transport: Link['transport'], refusal: Refusal) => context.metrics.strangerRefused(transport, refusal),
      },
      supplies,
      handler.use,
    );
    this.strangersLog = rateLimited(context.log, { burst: 10, intervalMs: 10_000, now: () => performance.now() });
  }

  get settings(): TunnelSettings {
    return this.#settings;
  }

  /** The host as the user gave it, and the port that is listened on. */
  get address(): Listeners['address'] {
    return this.#listeners.address;
  }

  /** SHA-256 of the certificate it shows: 64 lower-case hexadecimal digits. */
  get fingerprint(): string {
    return this.#fingerprint;
  }

  /** Of the named clients. */
  get rights(): readonly ClientRights[] {
    return this.#accounts.rights;
  }

  /** As `Tunnel.prepare`. */
  async prepare(settings: TunnelSettings): Promise<SettingsChange> {
    const { log, metrics } = this.#context;
    const loaded = await this.#supplies.loadAuth(settings, log);
    const { auth, clients } = loaded;
    const identity = await this.#supplies.loadIdentity(settings);
    const change = await this.#listeners.prepare(settings, identity, auth);
    const takeEffect = (): void => {
      if (this.#stopping) return change.discard();
      const handshakes = () => this.#listeners.handshakes;
      metrics.source = { clientmode: false, links: () => this.open.list(), handshakes };
      for (const warning of identity.warnings) log.warn(warning);
      const asksAnew = settings.proxyProtocol && !this.#settings.proxyProtocol;
      this.#settings = settings;
      this.#accounts.use(clients ?? [], this.#supplies.parts);
      this.#fingerprint = identity.fingerprint;
      const closed = change.takeEffect();
      // What a client has to tell of its connections it is told when its link is made.
      for (const link of this.open.list()) if (asksAnew || closed.has(link.transport)) link.drain();
      for (const link of this.open.list()) if (this.#isStrange(link)) link.close(REMOVED);
      if (change.moves && this.#supplies.speaks) this.#handler.announce(settings, identity, this.#listeners, loaded);
    };
    return { takeEffect, discard: () => change.discard() };
  }

  /** Takes no more links, and lets those that are there carry their streams to their ends. Resolves when all ports are free. */
  async drain(): Promise<void> {
    this.#stopping = true;
    for (const link of this.open.list()) link.drain();
    await this.#listeners.close();
  }

  /** Ends all links at once. */
  async close(reason: QtunnelError): Promise<void> {
    this.#stopping = true;
    const listenersClosed = this.#listeners.close();
    for (const link of this.open.list()) link.close(reason);
    this.strangersLog.flush();
    await listenersClosed;
  }

  #handleLink(link: Link): void {
    const { log, metrics, events } = this.#context;
    if (this.#stopping) return link.close(new QtunnelError('SHUTTING_DOWN', 'The server is shutting down.'));
    // Its handshake may have begun before the client was removed.
    if (this.#isStrange(link)) return link.close(REMOVED);
    this.open.add(link);
    const key = clientKey(link);
    // Whether it may was asked when it proved itself; a branch belongs to a link that another worker has counted.
    if (link.isBranch !== true) this.#quota.take(key, Infinity);
    events.onLinkUp(link);
    // That a client is here, and that it is gone, is said once, by the worker that keeps its link.
    const [level, up, down] = link.isBranch === true ? (['debug', 'branch_up', 'branch_down'] as const) : TOLD;
    const about = { ...clientOf(link), transport: link.transport, udp: link.udp, link: link.id, peer: link.peer };
    log[level]({ event: up, ...about }, `${calling(link)} is here over ${nameOf(link)}`);
    link.handler = {
      onStream: (stream, request) => this.#handler.onStream(link, stream, request, this.#accounts.of(link.client ?? '') ?? null),
      onStateChange: () => this.#handler.onStateChange?.(link),
      onEarlyData: (taken) => metrics.earlyDataSent(taken),
      onClose: (reason) => {
        this.open.delete(link);
        if (link.isBranch !== true) this.#quota.release(key);
        metrics.linkClosed(link);
        events.onLinkDown(link, reason);
        const fields = { event: down, ...about, code: reason.code, reason: reason.message };
        log[level](fields, `${calling(link)} is gone: ${reason.message}`);
        this.#handler.onLinkClosed?.(link, reason);
      },
    };
    this.#handler.onLink?.(link);
  }

  #refuseFurther(who: Pick<Link, 'client' | 'peer'>): QtunnelError | null {
    const { maxLinksPerClient } = this.#settings;
    if (this.#quota.of(clientKey(who)) < maxLinksPerClient) return null;
    this.#context.metrics.limitReached('client_links');
    return new QtunnelError('SERVER_BUSY', `The client is at its limit of ${maxLinksPerClient} links (-max-links-per-client).`);
  }

  #isStrange({ client = '' }: Link): boolean {
    return this.#accounts.of(client) === undefined;
  }

  #handleFailure(port: number, error: QtunnelError, peer: string): void {
    this.#context.metrics.handshakeFailed(error.code);
    this.#context.events.onTurnedAway(error, peer);
    const fields = { event: 'handshake_failed', peer, code: error.code, port };
    this.strangersLog.warn(error.code, fields, `turned ${peer} away: ${error.message}`);
  }
}

function calling({ client = '', peer }: Link): string {
  return client === '' ? `client ${peer}` : `client ${client} (${peer})`;
}

function nameOf(link: Link): string {
  return link.transport === 'quic' ? 'QUIC' : 'TLS';
}

function refusalOf(shortage: Shortage | null): QtunnelError | null {
  return shortage === null ? null : new QtunnelError('SERVER_BUSY', `The server has no room: ${shortage.message}.`);
}

const REMOVED = new QtunnelError('AUTH_REJECTED', 'The client is not in -clients any more.');
const TOLD = ['info', 'link_up', 'link_down'] as const;
