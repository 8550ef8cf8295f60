import type { Address } from '../config/settings.ts';
import { formatAddress } from '../link/address.ts';

export type Protocol = 'tcp' | 'udp';

/** A public port of the hub and where it leads. */
export interface Mapping {
  readonly protocol: Protocol;
  /** The hub's public port; protocol and port together are the mapping's identity. */
  readonly port: number;
  /** Who dials the target. */
  readonly via: 'agent' | 'direct';
  /** The agent's name; empty for any that offers the target, and for a direct mapping. */
  readonly agent: string;
  /** What is dialled: by the agent, where its allow list has it, or by the hub itself. */
  readonly target: Address;
  /** Networks of the clients that may connect, in CIDR notation; empty for everybody. */
  readonly allow: readonly string[];
  /** Whole bytes a second in each direction, of all its connections together; Infinity without a limit. */
  readonly bandwidth: number;
  /** For people. */
  readonly note: string;
}

/** Names a mapping in logs, metrics and tables: `tcp/10022`. */
export function mappingKey({ protocol, port }: Pick<Mapping, 'protocol' | 'port'>): string {
  return `${protocol}/${port}`;
}

/** `tcp/10022 → 127.0.0.1:22 through any agent`. */
export function describeMapping(mapping: Mapping): string {
  const { via, agent, target } = mapping;
  const through = via === 'direct' ? 'directly' : `through ${agent === '' ? 'any agent' : `agent ${agent}`}`;
  return `${mappingKey(mapping)} → ${formatAddress(target)} ${through}`;
}
