import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type StatementSyncInstance } from '@photostructure/sqlite';
import { SqliteAdapter, type SqliteDatabase, SqliteDialect, type SqliteStatement } from 'kysely';
import { QtunnelError } from '../../errors.ts';
import { makePrivateDirectory } from '../../identity/files.ts';
import type { Engine } from './engine.ts';

/**
 * An SQLite file, made with its folder where there is none, for the owner only.
 *
 * In WAL mode with `synchronous=FULL`: what was committed outlives a power failure, and a process that dies in the middle of a write
 * leaves what was there before. One connection; its calls hold up the thread, for some ten microseconds and for each commit the disk's sync.
 * @throws QtunnelError `DATABASE_FAILED`
 */
export async function openSqlite(file: string): Promise<Engine> {
  const name = path.resolve(file);
  try {
    await makePrivateDirectory(path.dirname(name));
    // SQLite gives its files next to this one the same mode.
    closeSync(openSync(name, 'a', 0o600));
    return { kind: 'sqlite', name, dialect: new WholeMigrations({ database: connect(name) }) };
  } catch (cause) {
    throw new QtunnelError(
      'DATABASE_FAILED',
      `The database ${name} cannot be opened (${(cause as Error).message}): check the path, its owner and the disk, or give another one with -database.`,
      { cause },
    );
  }
}

function connect(name: string): SqliteDatabase {
  const database = new DatabaseSync(name);
  try {
    database.exec(`pragma busy_timeout = ${BUSY_MS}`);
    for (const pragma of PRAGMAS) database.exec(`pragma ${pragma}`);
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    prepare: (sql) => new Prepared(database.prepare(sql)),
    close: () => database.close(),
  };
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

/** Kysely would make tables outside of a transaction; SQLite can do it inside. */
class WholeMigrations extends SqliteDialect {
  override createAdapter(): SqliteAdapter {
    return new TransactionalAdapter();
  }
}

class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

type Parameter = string | number | bigint | null;

/** How long another process (`sqlite3`, a backup) may hold the file. */
const BUSY_MS = 5_000;
const PRAGMAS = ['journal_mode = wal', 'synchronous = full', 'foreign_keys = on'] as const;
