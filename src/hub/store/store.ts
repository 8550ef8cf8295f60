import type { Mapping, Protocol } from '../mapping.ts';

/**
 * What outlives the hub's process. Every change is whole or not at all, with its line in the audit log, and on the disk when its
 * promise resolves. Each method throws QtunnelError `DATABASE_FAILED` when the database does not do it.
 */
export interface Store {
  /** In the order of protocol and port. */
  mappings(): Promise<readonly KeptMapping[]>;
  /** False when there is one of this protocol and port; nothing has changed then. */
  addMapping(kept: KeptMapping, by: Author): Promise<boolean>;
  /** Puts it in the place of the one of this protocol and port, whose counters stay. False when there is none. */
  updateMapping(mapping: Mapping, by: Author): Promise<boolean>;
  /** Takes its counters away as well. False when there is none. */
  removeMapping(protocol: Protocol, port: number, by: Author): Promise<boolean>;

  /** In the order in which they were made. */
  tokens(): Promise<readonly KeptToken[]>;
  addToken(token: KeptToken, by: Author): Promise<void>;
  /** False when there is none. */
  removeToken(id: string, by: Author): Promise<boolean>;

  /** The latest first, those before `before` if that is given. */
  audit(limit: number, before?: number): Promise<readonly AuditEntry[]>;

  /** Adds to the counters. Mappings that are not kept are passed over. */
  addTraffic(traffic: readonly Traffic[]): Promise<void>;
  /** All counters, or a mapping's, those with the most bytes first. */
  traffic(of?: Pick<Mapping, 'protocol' | 'port'>, limit?: number): Promise<readonly Traffic[]>;
  /** The sum of all clients' counters for each mapping that has any. */
  totals(): Promise<readonly Traffic[]>;

  /** Calls `listener` when another hub has changed something; it may also be called without that. */
  onChange(listener: (what: ChangedTable) => void): void;
  close(): Promise<void>;
}

export type ChangedTable = 'mappings' | 'tokens';

export interface KeptMapping {
  readonly mapping: Mapping;
  readonly createdAt: Date;
}

/** Who changes something: a token's name, and the address that it came from. */
export interface Author {
  readonly actor: string;
  readonly peer: string;
}

/** What a token lets its bearer do: `manage` includes `read`. */
export const ROLES = ['read', 'manage'] as const;
export type Role = (typeof ROLES)[number];

export interface KeptToken {
  /** The part of the token that is no secret. */
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the token: 64 hexadecimal digits. */
  readonly hash: string;
  readonly createdAt: Date;
}

export interface AuditEntry extends Author {
  /** Grows from entry to entry. */
  readonly id: number;
  readonly at: Date;
  readonly action: AuditAction;
  /** What was changed: `tcp/10022`, or a token's id. */
  readonly subject: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

export type AuditAction = 'mapping.create' | 'mapping.update' | 'mapping.remove' | 'token.create' | 'token.remove';

/** Counters of one client at one mapping. */
export interface Traffic {
  readonly protocol: Protocol;
  readonly port: number;
  /** Its address without the port; empty for all clients that have no line of their own. */
  readonly client: string;
  readonly connections: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly seenAt: Date;
}
