import { isDeepStrictEqual } from 'node:util';
import { QtunnelError, asQtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { Address } from '../config/settings.ts';
import { rateLimited, type RateLimitedLog } from '../observe/rate-limit.ts';
import { Bandwidth } from '../tunnel/bandwidth.ts';
import { Connections } from '../tunnel/connections.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { drained } from '../tunnel/drain.ts';
import { LinkServer } from '../tunnel/link-server.ts';
import { Shedding } from '../tunnel/shedding.ts';
import { Quota } from '../tunnel/quota.ts';
import { OWN, type Supplies } from '../tunnel/supplies.ts';
import type { SettingsChange } from '../tunnel/tunnel.ts';
import { openUdpBy } from '../udp/open.ts';
import type { OpenUdp } from '../udp/socket.ts';
import { type Agent, Agents, type Problem } from './agents.ts';
import { announceHub } from './announce.ts';
import { nameRefusal, portRefusal } from './client-rights.ts';
import { refuseLoop } from './loops.ts';
import { type Mapping, mappingKey, type Protocol } from './mapping.ts';
import { type HubSurroundings, PublishedPort } from './published-port.ts';
import type { AgentState, ConnectionState, MappingState, Publisher } from './publisher.ts';
import { CONTROL_TARGET, HUB_LINKS } from './registration.ts';
import type { HubSettings } from './settings.ts';
import { Turns } from './turns.ts';
import type { Wish } from './wish.ts';

/** The hub's data plane: takes agents, listens on public ports, and joins the two. Nothing is open before its first settings have taken effect. */
export class Hub implements Publisher {
  #settings: HubSettings;
  readonly #server: LinkServer;
  readonly #agents: Agents;
  /** By `mappingKey`. */
  readonly #ports = new Map<string, PublishedPort>();
  readonly #connections = new Connections();
  readonly #bandwidth = new Bandwidth(null);
  readonly #log: RateLimitedLog;
  readonly #around: HubSurroundings;
  /** Null before the first UDP port. */
  #openUdp: OpenUdp | null = null;
  /** Changes of the ports come one after the other. */
  readonly #turns = new Turns();
  #tellEnd: (connection: ConnectionState) => void = () => {};
  #stopping = false;

  constructor(settings: HubSettings, context: TunnelContext, supplies: Supplies = OWN) {
    this.#settings = settings;
    this.#log = rateLimited(context.log, { burst: 10, intervalMs: 10_000, now: () => performance.now() });
    const shedding = new Shedding(supplies.room, context);
    this.#agents = new Agents(context.log, {
      refusal: (client, name) => nameRefusal(client, name, this.#server.rights),
      onActive: (agent) => this.#turns.next(() => this.#grant(agent)),
      onLeave: (name) => void this.#turns.next(() => this.#takeBack(name, [], false)),
    });
    this.#server = new LinkServer(settings.tunnel, context, supplies, {
      use: HUB_LINKS,
      shedding,
      onStream: (link, stream, { target }) => {
        if (target === CONTROL_TARGET) this.#agents.accept(link, stream);
        else stream.reset('NO_BACKEND', 'This is a hub: it takes agents (qtunnel agent), and no connections of clients.');
      },
      onStateChange: (link) => this.#agents.handleStateChange(link),
      onLinkClosed: (link) => this.#agents.handleClosed(link),
      announce: (...about) => announceHub(context.log, this.#settings, ...about),
    });
    this.#around = {
      context,
      log: this.#log,
      agents: this.#agents,
      connections: this.#connections,
      quota: new Quota(),
      bandwidth: this.#bandwidth,
      shedding,
      listen: supplies.listen,
      openUdp: (options) => (this.#openUdp ??= openUdpBy(settings.tunnel.udp))(options),
      limits: () => {
        const { udpTimeout, tunnel } = this.#settings;
        const { maxConnections, maxConnectionsPerClient, dialTimeout } = tunnel;
        return { maxConnections, maxConnectionsPerClient, dialTimeout, udpTimeout };
      },
      ended: (connection) => this.#tellEnd(connection),
    };
  }

  get settings(): HubSettings {
    return this.#settings;
  }

  /** Where it listens for agents, with the real port when 0 was asked for. */
  get address(): Address {
    return this.#server.address;
  }

  get links(): Link[] {
    return this.#server.open.list();
  }

  /** As `Tunnel.prepare`. Mappings that are there stay, also where `-ports` no longer has them, and it takes agents or does not, as from the start. */
  async prepare(given: HubSettings): Promise<SettingsChange> {
    const { takesAgents } = this.#settings;
    const settings = { ...given, takesAgents };
    const { tunnel } = settings;
    const change = takesAgents ? await this.#server.prepare(tunnel) : NOTHING_TO_CHANGE;
    const takeEffect = (): void => {
      if (this.#stopping) return change.discard();
      this.#settings = settings;
      this.#bandwidth.setRate(tunnel.bandwidth);
      const before = this.#server.rights;
      change.takeEffect();
      if (!isDeepStrictEqual(before, this.#server.rights)) this.#review();
    };
    return { takeEffect, discard: () => change.discard() };
  }

  get portRange() {
    return this.#settings.ports;
  }

  publish(mapping: Mapping): Promise<void> {
    return this.#turns.next(() => this.#open(mapping, 'api'));
  }

  judge(mapping: Mapping): void {
    const { host } = this.#settings.ports;
    refuseLoop(mapping, host, (protocol, port) => this.#ports.get(mappingKey({ protocol, port }))?.mapping);
  }

  republish(mapping: Mapping): Promise<boolean> {
    return this.#turns.next(() => {
      this.judge(mapping);
      const found = this.#ports.get(mappingKey(mapping));
      if (found !== undefined) found.mapping = mapping;
      return found !== undefined;
    });
  }

  withdraw(protocol: Protocol, port: number): Promise<boolean> {
    return this.#turns.next(() => {
      const found = this.#ports.get(mappingKey({ protocol, port }));
      if (found !== undefined) this.#close(found, 'The mapping was removed.');
      return found !== undefined;
    });
  }

  mappings(): readonly MappingState[] {
    return [...this.#ports.values()].map(({ state }) => state).toSorted((a, b) => a.mapping.port - b.mapping.port);
  }

  agents(): readonly AgentState[] {
    return this.#agents.states();
  }

  connections(): readonly ConnectionState[] {
    return [...this.#ports.values()].flatMap(({ connections }) => connections);
  }

  onConnectionEnd(listener: (connection: ConnectionState) => void): void {
    this.#tellEnd = listener;
  }

  /** Accepts nothing more and waits up to `-drain-timeout` for the connections to end; true when they did. Ends with `close`. */
  async drain(): Promise<boolean> {
    this.#stopping = true;
    for (const port of this.#ports.values()) port.close();
    const listenersClosed = this.#server.drain();
    // Behind the links' word that they drain, so that agents look for another hub rather than ask why.
    this.#agents.end();
    const ended = await drained(this.#connections, this.#settings.tunnel.drainTimeout, () => {
      this.#agents.cut();
      return this.#server.open;
    });
    await this.close(new QtunnelError('SHUTTING_DOWN', 'The hub was stopped.'));
    await listenersClosed;
    return ended;
  }

  /** Ends everything at once. */
  async close(reason: QtunnelError): Promise<void> {
    this.#stopping = true;
    for (const port of this.#ports.values()) port.close(reason.message);
    this.#connections.abortAll('SHUTDOWN', reason.message);
    await this.#server.close(reason);
    this.#log.flush();
  }

  async #open(mapping: Mapping, origin: MappingState['origin']): Promise<void> {
    if (this.#stopping) throw new QtunnelError('SHUTTING_DOWN', 'The hub is being stopped: it opens no ports.');
    const { first, last, host } = this.#settings.ports;
    const key = mappingKey(mapping);
    if (mapping.port < first || mapping.port > last)
      throw new QtunnelError(
        'PORT_OUTSIDE',
        `The hub gives away the ports ${first} to ${last} (-ports): ${mapping.port} is not one of them.`,
      );
    this.judge(mapping);
    const there = this.#ports.get(key);
    if (there !== undefined && this.#isLeftBehind(there)) this.#close(there, 'Another mapping has the port.');
    else if (there !== undefined)
      throw new QtunnelError('PORT_TAKEN', `The public port ${key} is mapped already, ${ownerOf(there)}.`);
    const port = await PublishedPort.open(mapping, origin, host, this.#around);
    if (this.#stopping) return port.close();
    this.#ports.set(key, port);
  }

  #close(port: PublishedPort, reason?: string): void {
    this.#ports.delete(mappingKey(port.mapping));
    port.close(reason);
  }

  /** Gives an agent the ports that it asks for, and takes back those that it had asked for before. */
  async #grant({ link: { client = '' }, registered: { name, publish } }: Agent): Promise<Problem[]> {
    this.#takeBack(name, publish.map(mappingKey), true);
    const problems: Problem[] = [];
    for (const wish of publish) {
      try {
        const refusal = portRefusal(wish.port, client, this.#server.rights);
        if (refusal !== null) throw new QtunnelError('PORT_OUTSIDE', refusal);
        await this.#grantOne(name, wish);
      } catch (error) {
        const { code, message } = asQtunnelError(error);
        const { protocol, port } = wish;
        problems.push({ protocol, port, code, message });
        const fields = { event: 'port_refused', agent: name, mapping: mappingKey(wish), code };
        this.#log.warn('port_refused', fields, `agent ${name} does not get its port: ${message}`);
      }
    }
    return problems;
  }

  async #grantOne(name: string, wish: Wish): Promise<void> {
    const there = this.#ports.get(mappingKey(wish));
    const mapping = mappingOf(name, wish);
    if (there === undefined) return await this.#open(mapping, 'agent');
    if (isSame(there.mapping, mapping)) return;
    if (this.#isLeftBehind(there) || (there.origin === 'agent' && there.mapping.agent === name)) {
      there.mapping = mapping;
      return;
    }
    throw new QtunnelError('PORT_TAKEN', `The public port ${mappingKey(wish)} is mapped already, ${ownerOf(there)}.`);
  }

  /** What an agent has asked for that is away, perhaps for good, is free for whoever wants it. */
  #isLeftBehind({ origin, mapping: { agent } }: PublishedPort): boolean {
    return origin === 'agent' && this.#agents.find(agent) === null;
  }

  /** The rights of clients have changed. */
  #review(): void {
    const { rights } = this.#server;
    const names = new Set(rights.map(({ name }) => name));
    void this.#turns.next(() => {
      for (const port of this.#ports.values()) {
        const { agent } = port.mapping;
        const refusal = portRefusal(port.mapping.port, names.has(agent) ? agent : '', rights);
        if (port.origin === 'agent' && refusal !== null) this.#close(port, refusal);
      }
    });
    this.#agents.review();
  }

  /** Closes what this agent has asked for, but for the ports that it keeps. */
  #takeBack(name: string, keeps: readonly string[], cut: boolean): void {
    for (const [key, port] of this.#ports) {
      if (port.origin !== 'agent' || port.mapping.agent !== name || keeps.includes(key)) continue;
      this.#close(port, cut ? 'The agent does not ask for this port any more.' : undefined);
    }
  }
}

function mappingOf(agent: string, { protocol, port, target }: Wish): Mapping {
  return { protocol, port, via: 'agent', agent, target, allow: [], bandwidth: Infinity, note: '' };
}

function isSame(one: Mapping, other: Mapping): boolean {
  return (
    one.via === 'agent' &&
    one.agent === other.agent &&
    one.target.host === other.target.host &&
    one.target.port === other.target.port
  );
}

function ownerOf({ origin, mapping: { agent } }: PublishedPort): string {
  return origin === 'agent' ? `by the agent ${agent} (-R)` : 'over the API';
}

const NOTHING_TO_CHANGE: SettingsChange = { takeEffect() {}, discard() {} };
