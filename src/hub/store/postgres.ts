import { PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely';
import { Client, Pool, types } from 'pg';
import { QtunnelError } from '../../errors.ts';
import type { Engine, Watch } from './engine.ts';
import type { ChangedTable } from './store.ts';

/**
 * A PostgreSQL database that several hubs may share. What one changes, the others hear of by NOTIFY when it is committed.
 * @param url `postgres://user:password@host:port/name`; what it leaves out comes from `PGPASSWORD`, `~/.pgpass` and so on.
 * @throws QtunnelError `DATABASE_FAILED` when the URL is none.
 */
export function openPostgres(url: string): Engine {
  if (!URL.canParse(url)) {
    throw new QtunnelError('DATABASE_FAILED', '-database: expected a URL such as postgres://user:password@host:5432/name.');
  }
  const { hostname, pathname, port } = new URL(url);
  const pool = new Pool({
    connectionString: url,
    max: MOST_CONNECTIONS,
    connectionTimeoutMillis: PATIENCE_MS,
    query_timeout: PATIENCE_MS,
    statement_timeout: PATIENCE_MS,
    application_name: 'qtunnel',
    types: { getTypeParser: typeParser },
  });
  // An idle connection that is lost is replaced by the next query; one that is lost in a query fails that, and would end the process if nobody listened.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return {
    kind: 'postgres',
    name: `${hostname === '' ? 'localhost' : hostname}${port === '' ? '' : `:${port}`}${pathname}`,
    dialect: new PostgresDialect({ pool: impatient(pool) }),
    watch: new Listener(url),
  };
}

/**
 * The pool, but without connections that have left a query without an answer: behind a way that has died in silence they would wait, and with them all
 * further queries, until the kernel gives up after a quarter of an hour.
 */
function impatient(pool: Pool): PostgresPool {
  const connect = async (): Promise<PostgresPoolClient> => {
    const client = await pool.connect();
    const query = async (sql: string, parameters: readonly unknown[]): Promise<unknown> => {
      try {
        return await client.query(sql, [...parameters]);
      } catch (error) {
        if (sql === 'rollback' || (error as Error).message === UNANSWERED) client.end().catch(() => {});
        // What has failed before it is what there is to say.
        if (sql === 'rollback') return NO_ROWS;
        throw error;
      }
    };
    return { query: query as PostgresPoolClient['query'], release: () => client.release() };
  };
  return { connect, end: () => pool.end() };
}

/** LISTEN on a connection of its own, for as long as it takes: while it is lost, changes are missed, so every new one begins with both. */
class Listener implements Watch {
  readonly #url: string;
  #client: Client | null = null;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(url: string) {
    this.#url = url;
  }

  start(listener: (what: ChangedTable) => void): void {
    const client = this.#makeClient();
    if (client === null) return this.#startLater(listener);
    this.#client = client;
    let over = false;
    // A connection that has died without a word is found by asking.
    const asking = setInterval(() => client.query('select 1').catch(again), ASK_MS).unref();
    const again = (): void => {
      clearInterval(asking);
      if (over || this.#closed) return;
      over = true;
      client.end().catch(() => {});
      this.#startLater(listener);
    };
    client.on('error', again);
    client.on('end', again);
    client.on('notification', ({ payload }) => {
      if (isChangedTable(payload)) listener(payload);
    });
    client
      .connect()
      .then(() => client.query(`listen ${CHANNEL}`))
      .then(() => TABLES.forEach(listener))
      .catch(again);
  }

  /** Null when a file that the URL names cannot be read. */
  #makeClient(): Client | null {
    try {
      return new Client({
        connectionString: this.#url,
        application_name: 'qtunnel',
        keepAlive: true,
        connectionTimeoutMillis: PATIENCE_MS,
        query_timeout: PATIENCE_MS,
      });
    } catch {
      return null;
    }
  }

  #startLater(listener: (what: ChangedTable) => void): void {
    this.#retry = setTimeout(() => this.start(listener), RETRY_MS).unref();
  }

  announce(what: ChangedTable) {
    return { channel: CHANNEL, payload: what };
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.#client?.end().catch(() => {});
  }
}

function isChangedTable(payload: string | undefined): payload is ChangedTable {
  return TABLES.some((table) => table === payload);
}

/** 64-bit integers, which pg gives as text, are counters and times: they fit a number. */
function typeParser(oid: number, format?: 'text' | 'binary') {
  if (oid === INT8 || oid === NUMERIC) return Number;
  return format === 'binary' ? types.getTypeParser(oid, format) : types.getTypeParser(oid, 'text');
}

const CHANNEL = 'qtunnel';
const TABLES: readonly ChangedTable[] = ['mappings', 'tokens'];
const MOST_CONNECTIONS = 4;
const PATIENCE_MS = 5_000;
const RETRY_MS = 1_000;
const ASK_MS = 15_000;
const NO_ROWS = { command: 'SELECT', rowCount: 0, rows: [] };
/** What pg says after `query_timeout`; such an error has no code. */
const UNANSWERED = 'Query read timeout';
/** Types of pg_type; the sum of int8 is a numeric. */
const INT8 = 20;
const NUMERIC = 1700;
