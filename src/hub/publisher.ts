import type { Mapping, Protocol } from './mapping.ts';

/** The hub's data plane, as the API sees it. */
export interface Publisher {
  /** The ports that may be public (`-ports`). */
  readonly portRange: { readonly first: number; readonly last: number };
  /**
   * Listens on the mapping's port; whether its target can be reached shows in its state.
   * @throws QtunnelError `PORT_TAKEN` (mapped already), `PORT_OUTSIDE` (not in `-ports`), `LISTEN_FAILED` (another program has it, or no right to it), and as `judge`.
   */
  publish(mapping: Mapping): Promise<void>;
  /** @throws QtunnelError `MAPPING_LOOPS` for one that `publish` and `republish` would not take. */
  judge(mapping: Mapping): void;
  /**
   * Puts another mapping in the place of the one of this protocol and port; false when there is none. What is open goes on where it leads, but for clients whose
   * networks may not connect any more: these are cut off.
   * @throws QtunnelError `CONFIG_INVALID` for networks that are none, and as `judge`.
   */
  republish(mapping: Mapping): Promise<boolean>;
  /** Stops listening and cuts the mapping's connections off. Resolves when the port is free; true when there was such a mapping. */
  withdraw(protocol: Protocol, port: number): Promise<boolean>;
  /** In the order of their ports. */
  mappings(): readonly MappingState[];
  /** In the order of their names. */
  agents(): readonly AgentState[];
  connections(): readonly ConnectionState[];
  /** Has `listener` told of each connection that ends, with its figures at the end; in the place of the listener before. It does not throw. */
  onConnectionEnd(listener: (connection: ConnectionState) => void): void;
}

export interface MappingState {
  readonly mapping: Mapping;
  /** Who asked for it: the API (or what was kept of it), or an agent with `-R`, whose mapping lasts as long as the agent wants it. */
  readonly origin: 'api' | 'agent';
  /** Whether a new connection would be carried now. */
  readonly ready: boolean;
  /** One sentence on why it is not ready; empty when it is. */
  readonly problem: string;
  /** Open at this moment (UDP: conversations), and ever since it was published. */
  readonly connections: number;
  readonly connectionsTotal: number;
  /** Refused since it was published: by `allow`, without an agent, or because the target could not be dialled. */
  readonly refusedTotal: number;
  /** Bytes from clients to the target (in) and back (out) since it was published. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** What went wrong last; null when nothing has. */
  readonly lastError: { readonly at: Date; readonly message: string } | null;
}

export interface AgentState {
  readonly name: string;
  readonly transport: 'quic' | 'tls';
  /** Where it comes from, as `host:port`. */
  readonly peer: string;
  /** 16 hexadecimal digits, as in the logs of both sides. */
  readonly link: string;
  /** Smoothed round-trip time in milliseconds; NaN until one was measured. */
  readonly rtt: number;
  /** Share of the hub's packets to it that were lost, 0 to 1; NaN where the transport does not tell, and until 1,000 were sent. */
  readonly loss: number;
  /** Since when this connection of it is here. */
  readonly since: Date;
  /** What may be reached through it, as it wrote it in `-allow`. */
  readonly allow: readonly string[];
  /** Its version, as it says. */
  readonly software: string;
  /** Connections that it carries. */
  readonly connections: number;
}

export interface ConnectionState {
  /** 16 hexadecimal digits, as in the logs of hub and agent. */
  readonly tag: string;
  readonly protocol: Protocol;
  /** The mapping's. */
  readonly port: number;
  /** The client, as `host:port`. */
  readonly peer: string;
  /** The agent that carries it; empty for a direct one. */
  readonly agent: string;
  readonly since: Date;
  /** Bytes from the client to the target (in) and back (out). */
  readonly bytesIn: number;
  readonly bytesOut: number;
}
