import type net from 'node:net';
import type { BlockList } from 'node:net';
import type { Logger } from 'pino';
import { QtunnelError } from '../errors.ts';
import { formatAddress, hostOf } from '../link/address.ts';
import type { RateLimitedLog } from '../observe/rate-limit.ts';
import type { Listen } from '../ports/ports.ts';
import type { Limit } from '../observe/tunnel-metrics.ts';
import { Bandwidth } from '../tunnel/bandwidth.ts';
import type { Connections, TunnelConnection } from '../tunnel/connections.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { type Quota, sourceKey } from '../tunnel/quota.ts';
import type { Shedding } from '../tunnel/shedding.ts';
import { adoptSocket } from '../tunnel/socket-reader.ts';
import { listenTcp } from '../tunnel/tcp-listener.ts';
import type { OpenUdp } from '../udp/socket.ts';
import type { Agent, Agents } from './agents.ts';
import { isIn, parseNetworks } from './allow-list.ts';
import { describeMapping, type Mapping, mappingKey } from './mapping.ts';
import { peerOf, PublicConnection } from './public-connection.ts';
import type { ConnectionState, MappingState } from './publisher.ts';
import { UdpEar } from './udp-ear.ts';

/** What all ports of a hub share. */
export interface HubSurroundings {
  readonly context: TunnelContext;
  /** For what clients can cause as often as they like. */
  readonly log: RateLimitedLog;
  readonly agents: Agents;
  /** Of all mappings together, for the limit and for the end. */
  readonly connections: Connections;
  /** Connections of each source address. */
  readonly quota: Quota;
  readonly bandwidth: Bandwidth;
  readonly shedding: Shedding;
  readonly listen: Listen;
  /** As `-udp` says. */
  readonly openUdp: OpenUdp;
  /** Times are milliseconds. */
  limits(): {
    readonly maxConnections: number;
    readonly maxConnectionsPerClient: number | null;
    readonly dialTimeout: number;
    readonly udpTimeout: number;
  };
  /** A connection that was carried has ended. */
  ended(connection: ConnectionState): void;
}

/** Why a client is refused: a word for what can be counted, and a sentence. */
interface Refusal {
  readonly kind: string;
  readonly message: string;
}

/** What listens. */
interface Ear {
  close(): unknown;
}

/** A connection of a public port, or a conversation over UDP. */
export interface Carried extends TunnelConnection {
  readonly state: ConnectionState;
}

/** A public port that is listened on, and what was counted of it. */
export class PublishedPort {
  readonly origin: MappingState['origin'];
  readonly around: HubSurroundings;
  readonly bandwidth: Bandwidth;
  #mapping: Mapping;
  #networks: BlockList | null;
  readonly #log: Logger;
  #ear: Ear | null = null;
  readonly #connections = new Set<Carried>();
  connectionsTotal = 0;
  refusedTotal = 0;
  bytesIn = 0;
  bytesOut = 0;
  #lastError: MappingState['lastError'] = null;

  private constructor(mapping: Mapping, origin: MappingState['origin'], around: HubSurroundings) {
    this.#mapping = mapping;
    this.origin = origin;
    this.around = around;
    this.#networks = networksOf(mapping);
    this.bandwidth = new Bandwidth(bitsOf(mapping));
    this.#log = around.context.log;
  }

  /** Listens on the mapping's port of this host. @throws QtunnelError `LISTEN_FAILED`; `CONFIG_INVALID` for networks that are none. */
  static async open(
    mapping: Mapping,
    origin: MappingState['origin'],
    host: string,
    around: HubSurroundings,
  ): Promise<PublishedPort> {
    const port = new PublishedPort(mapping, origin, around);
    const address = { host, port: mapping.port };
    port.#ear =
      mapping.protocol === 'udp'
        ? await UdpEar.open(address, port)
        : await listenTcp(address, around.log, (socket) => port.#accept(socket), around.listen, 'port');
    port.#log.info({ event: 'published', mapping: mappingKey(mapping) }, `public port ${describeMapping(mapping)}`);
    return port;
  }

  get mapping(): Mapping {
    return this.#mapping;
  }

  /** Leads elsewhere from now on; what is open stays where it is, but for clients that may not connect any more. */
  set mapping(mapping: Mapping) {
    this.#networks = networksOf(mapping);
    if (this.#networks !== null) this.#cutOthers(this.#networks);
    this.bandwidth.setRate(bitsOf(mapping));
    this.#mapping = mapping;
    this.#log.info({ event: 'published', mapping: mappingKey(mapping) }, `public port ${describeMapping(mapping)}`);
  }

  /** Who would carry a connection now, or one sentence on why nobody would. */
  get carrier(): Agent | 'hub' | { readonly problem: string } {
    const { via, agent: name, target } = this.#mapping;
    if (via === 'direct') return 'hub';
    const { agents } = this.around;
    if (name === '') return agents.offering(target) ?? { problem: `No agent is here that offers ${formatAddress(target)}.` };
    const agent = agents.find(name);
    if (agent === null) return { problem: `The agent ${name} is away.` };
    // What it asked for itself it will let through, whatever the list says.
    if (this.origin === 'agent' || agent.registered.allow.mayHave(target)) return agent;
    return { problem: `The agent ${name} does not offer ${formatAddress(target)} (-allow).` };
  }

  /** Where any agent will do: one that offers the target, besides those of these names; null when there is none. */
  carrierBesides(tried: ReadonlySet<string>): Agent | null {
    const { via, agent, target } = this.#mapping;
    return via === 'agent' && agent === '' ? this.around.agents.offering(target, tried) : null;
  }

  get state(): MappingState {
    const { carrier, connectionsTotal, refusedTotal, bytesIn, bytesOut } = this;
    const problem = carrier !== 'hub' && 'problem' in carrier ? carrier.problem : '';
    return {
      mapping: this.#mapping,
      origin: this.origin,
      ready: problem === '',
      problem,
      connections: this.#connections.size,
      connectionsTotal,
      refusedTotal,
      bytesIn,
      bytesOut,
      lastError: this.#lastError,
    };
  }

  get connections(): readonly ConnectionState[] {
    return [...this.#connections].map((connection) => connection.state);
  }

  add(connection: Carried): void {
    this.#connections.add(connection);
    this.around.connections.add(connection);
    this.around.quota.take(sourceKey(hostOf(connection.state.peer)), Infinity);
  }

  delete(connection: Carried): void {
    this.around.connections.delete(connection);
    if (this.#connections.delete(connection)) this.around.quota.release(sourceKey(hostOf(connection.state.peer)));
  }

  failed(message: string): void {
    this.#lastError = { at: new Date(), message };
  }

  /** Listens no more; the port is free at once. With `reason` its connections are cut off, otherwise they go on. */
  close(reason?: string): void {
    const ear = this.#ear;
    this.#ear = null;
    if (ear === null) return;
    ear.close();
    if (reason !== undefined) for (const connection of this.#connections) connection.abort('SHUTDOWN', reason);
    const key = mappingKey(this.#mapping);
    this.#log.info({ event: 'withdrawn', mapping: key }, `public port ${key} is closed`);
  }

  #accept(socket: net.Socket): void {
    const refusal = this.refusalFor(socket.remoteAddress ?? '', socket);
    if (refusal === null) {
      adoptSocket(socket);
      new PublicConnection(socket, this);
      return;
    }
    this.refuse(socket, refusal.kind, refusal.message);
  }

  #cutOthers(networks: BlockList): void {
    for (const connection of [...this.#connections])
      if (!isIn(networks, hostOf(connection.state.peer))) connection.abort('SHUTDOWN', 'The client may not connect any more.');
  }

  /** Resets a connection that cannot be carried. */
  refuse(socket: net.Socket, kind: string, message: string): void {
    this.refused(kind, message, peerOf(socket));
    socket.on('error', () => {}).resetAndDestroy();
  }

  /** Counts and says that a client, `host:port`, was refused. */
  refused(kind: string, message: string, peer: string): void {
    this.refusedTotal++;
    this.failed(message);
    const mapping = mappingKey(this.#mapping);
    this.around.log.warn(`refused ${kind}`, { event: 'refused', mapping, kind, peer }, `${mapping}: ${message}`);
  }

  /** Why nobody at this address may come in; null when one may. */
  refusalOf(host: string): Refusal | null {
    if (this.#networks === null || isIn(this.#networks, host)) return null;
    return { kind: 'not_allowed', message: `A client at ${host} is in none of the networks that may connect.` };
  }

  /** Why a client at this address cannot come in; null when it can. `socket` is its connection; null over UDP. */
  refusalFor(host: string, socket: net.Socket | null): Refusal | null {
    const { connections, shedding, context } = this.around;
    const refusal = this.refusalOf(host);
    if (refusal !== null) return refusal;
    const limit = this.#limitFor(host);
    if (limit !== null) {
      context.metrics.limitReached(limit.limit);
      return { kind: 'limit', message: limit.message };
    }
    const shortage = socket === null ? shedding.refuseToMake() : shedding.refuse(socket);
    if (shortage === null) return null;
    connections.forgo();
    return { kind: 'shed', message: shortage.message };
  }

  /** Takes a place for a client at this address, or says which limit has been reached. */
  #limitFor(host: string): { readonly limit: Limit; readonly message: string } | null {
    const { maxConnections, maxConnectionsPerClient: most } = this.around.limits();
    if (this.around.quota.of(sourceKey(host)) >= (most ?? Infinity)) {
      const message = `The client has ${most} connections open (-max-connections-per-client).`;
      return { limit: 'client_connections', message };
    }
    if (this.around.connections.admit(maxConnections)) return null;
    return { limit: 'connections', message: `${maxConnections} connections are open (-max-connections).` };
  }
}

/** @throws QtunnelError `CONFIG_INVALID` */
function networksOf({ allow }: Mapping): BlockList | null {
  if (allow.length === 0) return null;
  const parsed = parseNetworks(allow);
  if ('value' in parsed) return parsed.value;
  throw new QtunnelError('CONFIG_INVALID', `The networks that may connect: expected ${parsed.expected}.`);
}

function bitsOf({ bandwidth }: Mapping): number | null {
  return Number.isFinite(bandwidth) ? bandwidth * 8 : null;
}
