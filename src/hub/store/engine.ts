import type { Dialect } from 'kysely';
import type { ChangedTable } from './store.ts';

/** What differs between the databases. */
export interface Engine {
  readonly kind: 'sqlite' | 'postgres';
  /** For people, without a password: a path, or `host/name`. */
  readonly name: string;
  readonly dialect: Dialect;
  /** Whether something failed because another process is at work, and so may be done in a moment. Absent where the database waits by itself. */
  readonly isBusy?: (error: unknown) => boolean;
  /** Tells of changes by other processes, until it is closed. Absent where there are none. */
  readonly watch?: Watch;
}

export interface Watch {
  /** SQL that tells the others, within the transaction of the change. */
  readonly announce: (what: ChangedTable) => { readonly channel: string; readonly payload: string };
  start(listener: (what: ChangedTable) => void): void;
  close(): Promise<void>;
}
