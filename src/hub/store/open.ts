import { QtunnelError } from '../../errors.ts';
import { isUrl } from './database-url.ts';
import { SqlStore } from './sql-store.ts';
import type { Store } from './store.ts';

/**
 * Opens the database, made where there is none, and brings its tables up to date.
 * @param database the path of an SQLite file, or a URL such as `postgres://user:password@host/name`.
 * @throws QtunnelError `DATABASE_FAILED` when it cannot be opened, is damaged, or was made by a later version.
 */
export async function openStore(database: string): Promise<Store> {
  const engine = await openEngine(database);
  const store = new SqlStore(engine);
  try {
    await store.prepare();
    return store;
  } catch (error) {
    await store.close().catch(() => {});
    throw error;
  }
}

async function openEngine(database: string) {
  if (POSTGRES.test(database)) {
    const { openPostgres } = await import('./postgres.ts');
    return openPostgres(database);
  }
  if (isUrl(database)) {
    throw new QtunnelError('DATABASE_FAILED', `-database: expected a file or postgres://…, got "${schemeOf(database)}:…".`);
  }
  const { openSqlite } = await import('./sqlite.ts');
  return await openSqlite(database);
}

/** The rest may hold a password. */
function schemeOf(url: string): string {
  return url.slice(0, url.indexOf(':'));
}

const POSTGRES = /^postgres(ql)?:\/\//i;
