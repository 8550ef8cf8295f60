import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, Migrator, sql, type Transaction } from 'kysely';
import { QtunnelError } from '../../errors.ts';
import { type Mapping, mappingKey, type Protocol } from '../mapping.ts';
import { readAudit, record } from './audit.ts';
import type { Engine } from './engine.ts';
import { deleteMapping, insertMapping, selectMappings, updateMapping } from './mappings.ts';
import { migrations } from './migrations.ts';
import type { AuditEntry, Author, ChangedTable, KeptMapping, KeptToken, Store, Traffic } from './store.ts';
import type { Tables } from './tables.ts';
import { deleteToken, insertToken, selectTokens } from './tokens.ts';
import { foldClients, increase, selectTotals, selectTraffic } from './traffic.ts';

/** A store in a database that speaks SQL. */
export class SqlStore implements Store {
  readonly #engine: Engine;
  readonly #database: Kysely<Tables>;
  #flushes = 0;
  #watching = false;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#database = new Kysely<Tables>({ dialect: engine.dialect });
  }

  /** Brings the tables up to date. @throws QtunnelError `DATABASE_FAILED` */
  async prepare(): Promise<void> {
    const migrator = new Migrator({ db: this.#database, provider: migrations(this.#engine.kind) });
    await this.#do(async () => {
      const { error } = await migrator.migrateToLatest();
      if (error !== undefined) throw error;
    });
  }

  mappings(): Promise<readonly KeptMapping[]> {
    return this.#do(() => selectMappings(this.#database));
  }

  addMapping(kept: KeptMapping, by: Author): Promise<boolean> {
    return this.#change('mappings', async (transaction) => {
      const added = await insertMapping(transaction, kept);
      if (added) await record(transaction, by, 'mapping.create', mappingKey(kept.mapping), { ...kept.mapping });
      return added;
    });
  }

  updateMapping(mapping: Mapping, by: Author): Promise<boolean> {
    return this.#change('mappings', async (transaction) => {
      const updated = await updateMapping(transaction, mapping);
      if (updated) await record(transaction, by, 'mapping.update', mappingKey(mapping), { ...mapping });
      return updated;
    });
  }

  removeMapping(protocol: Protocol, port: number, by: Author): Promise<boolean> {
    return this.#change('mappings', async (transaction) => {
      const removed = await deleteMapping(transaction, protocol, port);
      if (removed) await record(transaction, by, 'mapping.remove', mappingKey({ protocol, port }), {});
      return removed;
    });
  }

  tokens(): Promise<readonly KeptToken[]> {
    return this.#do(() => selectTokens(this.#database));
  }

  async addToken(token: KeptToken, by: Author): Promise<void> {
    await this.#change('tokens', async (transaction) => {
      await insertToken(transaction, token);
      await record(transaction, by, 'token.create', token.id, { name: token.name, role: token.role });
      return true;
    });
  }

  removeToken(id: string, by: Author): Promise<boolean> {
    return this.#change('tokens', async (transaction) => {
      const removed = await deleteToken(transaction, id);
      if (removed) await record(transaction, by, 'token.remove', id, {});
      return removed;
    });
  }

  audit(limit: number, before?: number): Promise<readonly AuditEntry[]> {
    return this.#do(() => readAudit(this.#database, limit, before));
  }

  addTraffic(traffic: readonly Traffic[]): Promise<void> {
    const fold = ++this.#flushes % FLUSHES_BETWEEN_FOLDS === 0;
    return this.#transaction(async (transaction) => {
      await increase(transaction, traffic);
      if (fold) await foldClients(transaction, MOST_CLIENTS);
    });
  }

  traffic(of?: Pick<Mapping, 'protocol' | 'port'>, limit?: number): Promise<readonly Traffic[]> {
    return this.#do(() => selectTraffic(this.#database, of, limit));
  }

  totals(): Promise<readonly Traffic[]> {
    return this.#do(() => selectTotals(this.#database));
  }

  onChange(listener: (what: ChangedTable) => void): void {
    if (this.#watching) throw new QtunnelError('INTERNAL', 'The store has a listener already.');
    this.#watching = true;
    this.#engine.watch?.start(listener);
  }

  async close(): Promise<void> {
    await this.#engine.watch?.close();
    await this.#database.destroy();
  }

  /** A change of which the other hubs are told when it is committed. */
  #change(what: ChangedTable, change: (transaction: Transaction<Tables>) => Promise<boolean>): Promise<boolean> {
    return this.#transaction(async (transaction) => {
      const changed = await change(transaction);
      const notice = changed ? this.#engine.watch?.announce(what) : undefined;
      if (notice !== undefined) await sql`select pg_notify(${notice.channel}, ${notice.payload})`.execute(transaction);
      return changed;
    });
  }

  #transaction<T>(work: (transaction: Transaction<Tables>) => Promise<T>): Promise<T> {
    return this.#do(() => this.#database.transaction().execute(work));
  }

  async #do<T>(work: () => Promise<T>): Promise<T> {
    for (const until = performance.now() + LONGEST_BUSY; ;) {
      try {
        return await work();
      } catch (error) {
        if (this.#engine.isBusy?.(error) !== true || performance.now() > until) throw this.#failed(error);
      }
      await sleep(BUSY_PAUSE);
    }
  }

  #failed(cause: unknown): QtunnelError {
    if (cause instanceof QtunnelError) return cause;
    const reason = reasonOf(cause);
    const advice = /corrupted migrations/.test(reason)
      ? 'a later version of qtunnel made it; install that one, or give another database'
      : 'check the database, and the disk or network behind it';
    return new QtunnelError('DATABASE_FAILED', `The database ${this.#engine.name} failed (${reason}): ${advice}.`, { cause });
  }
}

/** What there is to say of several attempts at once (a name with two addresses) is in none of their messages. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(reasonOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}

/** Clients of one mapping that have a line of their own; the ones not seen for longest are folded together. */
const MOST_CLIENTS = 1_000;
const FLUSHES_BETWEEN_FOLDS = 10;
/** Milliseconds for which another process may hold the database, and between two attempts. */
const LONGEST_BUSY = 5_000;
const BUSY_PAUSE = 50;
