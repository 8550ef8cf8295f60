import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { QtunnelError } from '../../../src/errors.ts';
import { refuseLoop } from '../../../src/hub/loops.ts';
import { type Mapping, mappingKey, type Protocol } from '../../../src/hub/mapping.ts';
import type { AgentState, ConnectionState, MappingState, Publisher } from '../../../src/hub/publisher.ts';
import type { Owner } from '../../support/process.ts';

/** A data plane that listens on the ports of TCP mappings and carries nothing. */
export class FakePublisher implements Publisher {
  readonly #servers = new Map<string, Server>();
  readonly #states = new Map<string, MappingState>();
  #listener: (connection: ConnectionState) => void = () => {};
  readonly portRange = { first: FIRST, last: LAST };
  agentStates: AgentState[] = [];
  connectionStates: ConnectionState[] = [];

  readonly #listening: boolean;

  /** @param listening whether it really listens. */
  constructor(t: Owner, listening = true) {
    this.#listening = listening;
    t.teardown(() => this.#servers.forEach((server) => server.close()));
  }

  async publish(mapping: Mapping): Promise<void> {
    const key = mappingKey(mapping);
    if (this.#states.has(key)) throw new QtunnelError('PORT_TAKEN', `The port ${key} is mapped already.`);
    if (mapping.port < FIRST || mapping.port > LAST)
      throw new QtunnelError('PORT_OUTSIDE', `The port ${mapping.port} is not one of ${FIRST}-${LAST} (-ports).`);
    this.judge(mapping);
    if (this.#listening && mapping.protocol === 'tcp') await this.#listen(key, mapping.port);
    this.#states.set(key, stateOf(mapping, 'api'));
  }

  judge(mapping: Mapping): void {
    refuseLoop(mapping, '', (protocol, port) => this.#states.get(mappingKey({ protocol, port }))?.mapping);
  }

  async republish(mapping: Mapping): Promise<boolean> {
    const key = mappingKey(mapping);
    const before = this.#states.get(key);
    if (before !== undefined) this.#states.set(key, { ...before, mapping });
    return await Promise.resolve(before !== undefined);
  }

  async withdraw(protocol: Protocol, port: number): Promise<boolean> {
    const key = mappingKey({ protocol, port });
    const server = this.#servers.get(key);
    this.#servers.delete(key);
    if (server !== undefined) {
      server.close();
      await once(server, 'close');
    }
    return this.#states.delete(key);
  }

  /** As an agent does with -R. */
  wish(mapping: Mapping): void {
    this.#states.set(mappingKey(mapping), stateOf(mapping, 'agent'));
  }

  /** Changes the figures of a TCP mapping. */
  carry(port: number, figures: Partial<MappingState>): void {
    const key = mappingKey({ protocol: 'tcp', port });
    this.#states.set(key, { ...this.#states.get(key)!, ...figures });
  }

  end(connection: ConnectionState): void {
    this.connectionStates = this.connectionStates.filter(({ tag }) => tag !== connection.tag);
    this.#listener(connection);
  }

  mappings(): readonly MappingState[] {
    return [...this.#states.values()];
  }

  agents(): readonly AgentState[] {
    return this.agentStates;
  }

  connections(): readonly ConnectionState[] {
    return this.connectionStates;
  }

  onConnectionEnd(listener: (connection: ConnectionState) => void): void {
    this.#listener = listener;
  }

  async #listen(key: string, port: number): Promise<void> {
    const server = createServer();
    server.listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch (cause) {
      throw new QtunnelError('LISTEN_FAILED', `The port ${port} is used by another program.`, { cause });
    }
    this.#servers.set(key, server);
  }
}

export function connection(tag: string, port: number, changed: Partial<ConnectionState> = {}): ConnectionState {
  return {
    tag,
    protocol: 'tcp',
    port,
    peer: '192.0.2.1:4000',
    agent: 'cellar',
    since: new Date(0),
    bytesIn: 0,
    bytesOut: 0,
    ...changed,
  };
}

export const AGENT: AgentState = {
  name: 'cellar',
  transport: 'quic',
  peer: '192.0.2.9:5000',
  link: '0123456789abcdef',
  rtt: 12.5,
  loss: Number.NaN,
  since: new Date(0),
  allow: ['127.0.0.1:22'],
  software: '0.1.0',
  connections: 3,
};

function stateOf(mapping: Mapping, origin: MappingState['origin']): MappingState {
  return {
    mapping,
    origin,
    ready: true,
    problem: '',
    connections: 0,
    connectionsTotal: 0,
    refusedTotal: 0,
    bytesIn: 0,
    bytesOut: 0,
    lastError: null,
  };
}

/** The -ports of this hub: below those that Linux gives to outgoing connections, above those of other tests. */
export const FIRST = 10_000;
export const LAST = 29_999;
