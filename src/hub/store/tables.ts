import type { Generated } from 'kysely';

/**
 * The tables of the database, the same for SQLite and PostgreSQL. Times are milliseconds since 1970; lists are JSON texts.
 */
export interface Tables {
  readonly mappings: MappingRow;
  readonly tokens: TokenRow;
  readonly audit: AuditRow;
  readonly traffic: TrafficRow;
}

/** By protocol and port. */
export interface MappingRow {
  readonly protocol: string;
  readonly port: number;
  readonly via: string;
  readonly agent: string;
  readonly target_host: string;
  readonly target_port: number;
  /** JSON: networks. */
  readonly allow: string;
  /** Bytes a second; null without a limit. */
  readonly bandwidth: number | null;
  readonly note: string;
  readonly created_at: number;
}

/** By id. */
export interface TokenRow {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  /** SHA-256 of the token, in hexadecimal digits. */
  readonly hash: string;
  readonly created_at: number;
}

/** By id, which grows. */
export interface AuditRow {
  readonly id: Generated<number>;
  readonly at: number;
  readonly actor: string;
  readonly peer: string;
  readonly action: string;
  readonly subject: string;
  /** JSON. */
  readonly detail: string;
}

/** By protocol, port and client; the client is empty for all those that were folded together. */
export interface TrafficRow {
  readonly protocol: string;
  readonly port: number;
  readonly client: string;
  readonly connections: number;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly seen_at: number;
}
