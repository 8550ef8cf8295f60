import type { Fec } from '../../protocol/fec.ts';
import type { Address, ClientEntry, NamedAddress, PortSpan } from '../settings.ts';

/** One flag, wherever it is given. */
export interface FlagShape {
  readonly name: string;
  readonly group: string;
  /** Belongs to one tunnel, to the whole process, or only to the command line and the environment. */
  readonly scope: 'tunnel' | 'process' | 'command';
  readonly kind: keyof KindValues;
  readonly help: string;
  /** As a user would write it; null for none. Left out where `computed` says in words what it is. */
  readonly default?: string | null;
  readonly computed?: string;
  /** The role the flag is for; left out for both. */
  readonly only?: 'client' | 'server';
  /** Never to be printed. */
  readonly secret?: true;
  /** Not read from the environment: `QTUNNEL_VERSION` is what an image's author calls the version he built. */
  readonly commandLineOnly?: true;
  /** What `-help` shows for the value; the kind's own word when left out. */
  readonly metavar?: string;
  /** address and backends: port 0 is allowed; an empty host is not "all addresses" but this machine. */
  readonly anyPort?: true;
  readonly dialled?: true;
  /** enum: all values; path: words that are not paths. */
  readonly choices?: readonly string[];
  readonly words?: readonly string[];
  /** integer and size: bounds, both included. */
  readonly min?: number;
  readonly max?: number;
}

/** What a value of each kind is once parsed: durations are milliseconds, sizes bytes. */
export interface KindValues {
  boolean: boolean;
  string: string;
  path: string;
  address: Address;
  /** As given, in order; those without a name have an empty one. */
  backends: readonly NamedAddress[];
  /** Of a backend or a client: letters, digits, `-`, `_` and `.`, at most 64. */
  name: string;
  /** A file, or what would stand in it. */
  clients: string | readonly ClientEntry[];
  duration: number;
  size: number;
  integer: number;
  /** Bits a second. */
  rate: number;
  enum: string;
  fingerprint: string;
  fingerprints: readonly string[];
  fec: Fec;
  list: readonly string[];
  /** Empty for none at all. */
  ports: readonly PortSpan[];
}
