import { type Kysely, type Migration, type MigrationProvider, sql } from 'kysely';
import type { Engine } from './engine.ts';

/**
 * The steps from an empty database to the tables of this version, by name. A step that has been released is never changed: what is to be
 * different is a further one.
 */
export function migrations(kind: Engine['kind']): MigrationProvider {
  return {
    getMigrations: () => Promise.resolve({ '0001-first': { up: (database) => first(database, kind) } satisfies Migration }),
  };
}

async function first(database: Kysely<unknown>, kind: Engine['kind']): Promise<void> {
  const { schema } = database;
  await schema
    .createTable('mappings')
    .addColumn('protocol', 'text', (column) => column.notNull())
    .addColumn('port', 'integer', (column) => column.notNull())
    .addColumn('via', 'text', (column) => column.notNull())
    .addColumn('agent', 'text', (column) => column.notNull())
    .addColumn('target_host', 'text', (column) => column.notNull())
    .addColumn('target_port', 'integer', (column) => column.notNull())
    .addColumn('allow', 'text', (column) => column.notNull())
    .addColumn('bandwidth', 'bigint')
    .addColumn('note', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('mappings_key', ['protocol', 'port'])
    .execute();
  await schema
    .createTable('tokens')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('role', 'text', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
  await schema
    .createTable('audit')
    .addColumn('id', kind === 'sqlite' ? 'integer' : 'bigint', (column) =>
      kind === 'sqlite' ? column.primaryKey().autoIncrement() : column.primaryKey().generatedAlwaysAsIdentity(),
    )
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('actor', 'text', (column) => column.notNull())
    .addColumn('peer', 'text', (column) => column.notNull())
    .addColumn('action', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('detail', 'text', (column) => column.notNull())
    .execute();
  await schema
    .createTable('traffic')
    .addColumn('protocol', 'text', (column) => column.notNull())
    .addColumn('port', 'integer', (column) => column.notNull())
    .addColumn('client', 'text', (column) => column.notNull())
    .addColumn('connections', 'bigint', (column) => column.notNull())
    .addColumn('bytes_in', 'bigint', (column) => column.notNull())
    .addColumn('bytes_out', 'bigint', (column) => column.notNull())
    .addColumn('seen_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('traffic_key', ['protocol', 'port', 'client'])
    .addForeignKeyConstraint('traffic_mapping', ['protocol', 'port'], 'mappings', ['protocol', 'port'], (key) =>
      key.onDelete('cascade'),
    )
    .execute();
  await sql`create index traffic_seen on traffic (protocol, port, seen_at)`.execute(database);
}
