import { isDeepStrictEqual } from 'node:util';
import { isIP, type LookupFunction } from 'node:net';
import { QtunnelError } from '../errors.ts';
import type { Link, LinkStream, OpenRequest } from '../link/link.ts';
import { rateLimited, type RateLimitedLog } from '../observe/rate-limit.ts';
import { BackendConnection } from '../tunnel/backend-connection.ts';
import { Bandwidth, throttled } from '../tunnel/bandwidth.ts';
import { Connections } from '../tunnel/connections.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { drained } from '../tunnel/drain.ts';
import { loadRoute, type Route } from '../tunnel/route.ts';
import { Shedding } from '../tunnel/shedding.ts';
import { OWN, type Supplies } from '../tunnel/supplies.ts';
import type { SettingsChange } from '../tunnel/tunnel.ts';
import type { UplinkHandler } from '../tunnel/uplink.ts';
import { Uplinks } from '../tunnel/uplinks.ts';
import type { Address } from '../config/settings.ts';
import { AgentConversation } from './agent-conversation.ts';
import { forbidden } from './allow-list.ts';
import { Registrar } from './registrar.ts';
import { HUB_LINKS } from './registration.ts';
import type { AgentSettings } from './settings.ts';
import { decodeTarget, type Target } from './target.ts';

/**
 * The inside's end: keeps a link to the hub as a tunnel's client does, says there who it is, and dials what the hub's streams ask for where the allow list has it.
 * Nothing is open before its first settings have taken effect.
 */
export class AgentTunnel {
  #settings: AgentSettings;
  readonly #context: TunnelContext;
  readonly #supplies: Supplies;
  readonly #uplink = new Uplinks();
  readonly #registrar: Registrar;
  readonly #connections = new Connections();
  readonly #bandwidth = new Bandwidth(null);
  readonly #shedding: Shedding;
  readonly #log: RateLimitedLog;
  /** What the links are made with. */
  #basis: unknown = null;
  #stopping = false;

  constructor(settings: AgentSettings, context: TunnelContext, supplies: Supplies = OWN) {
    this.#settings = settings;
    this.#context = context;
    this.#supplies = supplies;
    this.#shedding = new Shedding(supplies.room, context);
    this.#registrar = new Registrar(this.#uplink, context.log);
    this.#log = rateLimited(context.log, { burst: 10, intervalMs: 10_000, now: () => performance.now() });
  }

  get settings(): AgentSettings {
    return this.#settings;
  }

  /** Connections that are open through it, and conversations over UDP. */
  get connections(): number {
    return this.#connections.size;
  }

  get uplink(): Uplinks {
    return this.#uplink;
  }

  /** As `Tunnel.prepare`. */
  async prepare(settings: AgentSettings): Promise<SettingsChange> {
    const route = await loadRoute(settings.tunnel, this.#context, this.#supplies, HUB_LINKS);
    if (this.#basis !== null) await route.prepare();
    const takeEffect = (): void => {
      if (this.#stopping) return;
      this.#context.metrics.source = { clientmode: true, links: () => this.#uplink.open.list() };
      this.#settings = settings;
      this.#bandwidth.setRate(settings.tunnel.bandwidth);
      this.#registrar.use(settings);
      this.#takeRoute(route);
    };
    return { takeEffect, discard() {} };
  }

  /** Tells the hub that it goes, and waits up to `-drain-timeout` for the connections to end; true when they did. Ends with `close`. */
  async drain(): Promise<boolean> {
    this.#stopping = true;
    this.#registrar.leave();
    const ended = await drained(this.#connections, this.#settings.tunnel.drainTimeout, () => {
      this.#uplink.stop();
      return this.#uplink.open;
    });
    await this.close(new QtunnelError('SHUTTING_DOWN', 'The agent was stopped.'));
    return ended;
  }

  /** Ends everything at once. */
  close(reason: QtunnelError): Promise<void> {
    this.#stopping = true;
    this.#registrar.stop();
    this.#connections.abortAll('SHUTDOWN', reason.message);
    this.#uplink.stop(reason);
    this.#log.flush();
    return Promise.resolve();
  }

  /** A link that is up need not be made again when it would be made in the same way. */
  #takeRoute({ ways, handler, basis }: Route): void {
    const { maxConnections, proxyProtocol, transport } = this.#settings.tunnel;
    const wanted = [basis, maxConnections, proxyProtocol];
    if (isDeepStrictEqual(wanted, this.#basis) && this.#uplink.current() !== null) return;
    this.#basis = wanted;
    const watched = ways.map((way) => ({ ...way, handler: this.#watch(way.handler) }));
    this.#uplink.use(watched, handler, transport);
  }

  #watch(handler: UplinkHandler): UplinkHandler {
    return {
      ...handler,
      onUp: (link) => {
        handler.onUp(link);
        this.#registrar.handleUp(link);
      },
      onStateChange: (link) => {
        handler.onStateChange(link);
        this.#registrar.look();
      },
      onRetired: (link, reason) => {
        handler.onRetired(link, reason);
        this.#registrar.handleRetired(link);
      },
      onDown: (transport, link, reason, retryIn) => {
        handler.onDown(transport, link, reason, retryIn);
        if (link !== null) this.#registrar.handleRetired(link);
      },
      onClosed: (link) => {
        handler.onClosed(link);
        this.#registrar.handleClosed(link);
      },
      onStream: (link, stream, request) => this.#handleStream(link, stream, request),
      // What the hub hears over two connections it may hear in either order: that a link goes must not come before the word that there is another.
      whenTaken: (link) => this.#registrar.whenAnswered(link),
    };
  }

  #handleStream(link: Link, stream: LinkStream, request: OpenRequest): void {
    if (this.#stopping) return stream.reset('SHUTDOWN', 'the agent is being stopped');
    const target = decodeTarget(request.target);
    if (target === null) return stream.reset('NO_BACKEND', 'the agent does not understand this target');
    const judged = this.#judge(target);
    if (judged === null) return this.#forbid(link, stream, request, target);
    const shortage = this.#shedding.refuseToMake();
    if (shortage !== null) return stream.reset('RESOURCE', `the agent has no room: ${shortage.message}`);
    const { maxConnections } = this.#settings.tunnel;
    if (!this.#connections.admit(maxConnections)) {
      const message = `the agent is at its limit of ${maxConnections} connections (-max-connections)`;
      this.#log.warn('limit', { event: 'limit', tag: request.tag, link: link.id }, message);
      return stream.reset('LIMIT', message);
    }
    if (target.protocol === 'udp') return this.#converse(link, stream, request, { target: target.address, ...judged });
    new BackendConnection(throttled(stream, [this.#bandwidth]), {
      onOver: () => {},
      backend: target.address,
      settings: this.#settings.tunnel,
      request,
      link,
      context: this.#context,
      connections: this.#connections,
      shedding: this.#shedding,
      ...judged,
    });
  }

  #converse(
    link: Link,
    stream: LinkStream,
    { tag }: OpenRequest,
    to: { readonly target: Address; readonly lookup?: LookupFunction },
  ): void {
    const shared = { context: this.#context, connections: this.#connections, bandwidth: this.#bandwidth };
    new AgentConversation(stream, { ...to, tag, link, ...shared });
  }

  /** How a target may be dialled; null when it may not. What was typed after `-R` is this side's own wish. */
  #judge({ protocol, address }: Target): { readonly lookup?: LookupFunction } | null {
    const { allow, wishes } = this.#settings;
    const { host, port } = address;
    const isWished = wishes.some((wish) => wish.protocol === protocol && isDeepStrictEqual(wish.target, address));
    if (isWished) return {};
    if (isIP(host) !== 0) return allow.has(host, port) ? {} : null;
    return { lookup: allow.lookupFor(address) };
  }

  #forbid(link: Link, stream: LinkStream, { tag }: OpenRequest, { address }: Target): void {
    const { code, message } = forbidden(address);
    this.#context.metrics.dialFailed(code);
    this.#log.warn('forbidden', { event: 'dial_failed', tag, link: link.id, reason: 'NO_BACKEND' }, message);
    stream.reset('NO_BACKEND', message);
  }
}
