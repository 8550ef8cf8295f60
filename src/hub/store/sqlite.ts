import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite';
import {
  type DatabaseConnection,
  SqliteAdapter,
  type SqliteDatabase,
  SqliteDialect,
  SqliteDriver,
  type SqliteStatement,
} from 'kysely';
import { QtunnelError } from '../../errors.ts';
import { makePrivateDirectory } from '../../identity/files.ts';
import type { Engine } from './engine.ts';

/**
 * An SQLite file, made with its folder where there is none, for the owner only.
 *
 * In WAL mode with `synchronous=FULL`: what was committed outlives a power failure, and a process that dies in the middle of a write
 * leaves what was there before. One connection; its calls hold up the thread, for some ten microseconds and for each commit the disk's sync, and so
 * none of them waits for another process that holds the file: the store tries again (`Engine.isBusy`).
 * @throws QtunnelError `DATABASE_FAILED`
 */
export async function openSqlite(file: string): Promise<Engine> {
  const name = path.resolve(file);
  try {
    await makePrivateDirectory(path.dirname(name));
    // SQLite gives its files next to this one the same mode.
    closeSync(openSync(name, 'a', 0o600));
    return { kind: 'sqlite', name, dialect: new Dialect(connect(name)), isBusy };
  } catch (cause) {
    throw new QtunnelError(
      'DATABASE_FAILED',
      `The database ${name} cannot be opened (${(cause as Error).message}): check the path, its owner and the disk, or give another one with -database.`,
      { cause },
    );
  }
}

function connect(name: string): DatabaseSyncInstance {
  const database = new DatabaseSync(name);
  try {
    // Nobody is held up yet.
    database.exec(`pragma busy_timeout = ${BUSY_MS}`);
    for (const pragma of PRAGMAS) database.exec(`pragma ${pragma}`);
    database.exec('pragma busy_timeout = 0');
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

/** Whether another process (`sqlite3`, a backup) holds the file: SQLITE_BUSY and its extended codes. */
function isBusy(error: unknown): boolean {
  const { sqliteCode } = error as { readonly sqliteCode?: number };
  return sqliteCode !== undefined && (sqliteCode & 0xff) === SQLITE_BUSY;
}

/** A statement of `node:sqlite` as Kysely wants it. */
class Prepared implements SqliteStatement {
  readonly reader: boolean;
  readonly #statement: StatementSyncInstance;

  constructor(statement: StatementSyncInstance) {
    this.#statement = statement;
    this.reader = statement.columns().length > 0;
  }

  all(parameters: readonly unknown[]): unknown[] {
    return this.#statement.all(...(parameters as Parameter[]));
  }

  run(parameters: readonly unknown[]) {
    return this.#statement.run(...(parameters as Parameter[]));
  }

  iterate(parameters: readonly unknown[]): IterableIterator<unknown> {
    return this.#statement.iterate(...(parameters as Parameter[])) as IterableIterator<unknown>;
  }
}

class Dialect extends SqliteDialect {
  readonly #database: DatabaseSyncInstance;

  constructor(database: DatabaseSyncInstance) {
    super({ database: asKysely(database) });
    this.#database = database;
  }

  override createDriver(): SqliteDriver {
    return new Driver(this.#database);
  }

  override createAdapter(): SqliteAdapter {
    return new TransactionalAdapter();
  }
}

/** A transaction that fails says itself why: after some failures (a full disk) SQLite has rolled back by itself, and says no to a second time. */
class Driver extends SqliteDriver {
  readonly #database: DatabaseSyncInstance;

  constructor(database: DatabaseSyncInstance) {
    super({ database: asKysely(database) });
    this.#database = database;
  }

  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#database.isTransaction) this.#database.exec('rollback');
    await super.beginTransaction(connection);
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await super.rollbackTransaction(connection).catch(() => {});
  }
}

function asKysely(database: DatabaseSyncInstance): SqliteDatabase {
  return { prepare: (sql) => new Prepared(database.prepare(sql)), close: () => database.close() };
}

/** Kysely would make tables outside of a transaction; SQLite can do it inside. */
class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

type Parameter = string | number | bigint | null;

/** Milliseconds. */
const BUSY_MS = 5_000;
const SQLITE_BUSY = 5;
const PRAGMAS = ['journal_mode = wal', 'synchronous = full', 'foreign_keys = on'] as const;
