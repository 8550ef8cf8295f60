import { type Kysely, sql } from 'kysely';
import { type Mapping, mappingKey, type Protocol } from '../mapping.ts';
import type { Traffic } from './store.ts';
import type { Tables, TrafficRow } from './tables.ts';

/**
 * Adds to the counters of mappings that are kept; others are passed over. No two of the same mapping and client. In one order everywhere, so
 * that two hubs that count at once do not wait for each other.
 */
export async function increase(database: Kysely<Tables>, traffic: readonly Traffic[]): Promise<void> {
  const rows = traffic.toSorted((a, b) => compare(keyOf(a), keyOf(b))).map(valuesOf);
  for (let first = 0; first < rows.length; first += ROWS_AT_ONCE) {
    await sql`
      with added (protocol, port, client, connections, bytes_in, bytes_out, seen_at) as (
        values ${sql.join(rows.slice(first, first + ROWS_AT_ONCE))}
      )
      insert into traffic (protocol, port, client, connections, bytes_in, bytes_out, seen_at)
      select protocol, port, client, connections, bytes_in, bytes_out, seen_at from added
      where exists (select 1 from mappings where mappings.protocol = added.protocol and mappings.port = added.port)
      on conflict (protocol, port, client) do update set
        connections = traffic.connections + excluded.connections,
        bytes_in = traffic.bytes_in + excluded.bytes_in,
        bytes_out = traffic.bytes_out + excluded.bytes_out,
        seen_at = excluded.seen_at`.execute(database);
  }
}

function valuesOf({ protocol, port, client, connections, bytesIn, bytesOut, seenAt }: Traffic) {
  const counters = [connections, bytesIn, bytesOut, seenAt.getTime()].map((value) => sql`cast(${value} as bigint)`);
  return sql`(cast(${protocol} as text), cast(${port} as integer), cast(${client} as text), ${sql.join(counters)})`;
}

/** Those with the most bytes first. */
export async function selectTraffic(
  database: Kysely<Tables>,
  of?: Pick<Mapping, 'protocol' | 'port'>,
  limit?: number,
): Promise<Traffic[]> {
  let query = database
    .selectFrom('traffic')
    .selectAll()
    .orderBy((row) => row('bytes_in', '+', row.ref('bytes_out')), 'desc')
    .orderBy('client');
  if (of !== undefined) query = query.where('protocol', '=', of.protocol).where('port', '=', of.port);
  if (limit !== undefined) query = query.limit(limit);
  return (await query.execute()).map(fromRow);
}

export async function selectTotals(database: Kysely<Tables>): Promise<Traffic[]> {
  const rows = await database
    .selectFrom('traffic')
    .select(({ fn }) => [
      'protocol',
      'port',
      fn.sum<number>('connections').as('connections'),
      fn.sum<number>('bytes_in').as('bytes_in'),
      fn.sum<number>('bytes_out').as('bytes_out'),
      fn.max('seen_at').as('seen_at'),
    ])
    .groupBy(['protocol', 'port'])
    .execute();
  return rows.map((row) => fromRow({ ...row, client: '' }));
}

/** Has at most `most` clients of each mapping keep a line of their own: the ones not seen for longest become one. */
export async function foldClients(database: Kysely<Tables>, most: number): Promise<void> {
  const crowded = await database
    .selectFrom('traffic')
    .select(['protocol', 'port'])
    .where('client', '!=', '')
    .groupBy(['protocol', 'port'])
    .having(({ fn }) => fn.countAll<number>(), '>', most)
    .execute();
  for (const { protocol, port } of crowded) {
    const rest = await database
      .selectFrom('traffic')
      .selectAll()
      .where('protocol', '=', protocol)
      .where('port', '=', port)
      .where('client', '!=', '')
      .orderBy('seen_at', 'desc')
      .orderBy('client')
      .limit(ALL)
      .offset(most)
      .execute();
    await increase(database, [sumOf(rest)]);
    for (const { client } of rest)
      await database
        .deleteFrom('traffic')
        .where('protocol', '=', protocol)
        .where('port', '=', port)
        .where('client', '=', client)
        .execute();
  }
}

function sumOf(rows: readonly TrafficRow[]): Traffic {
  const sum = { ...fromRow(rows[0]!), client: '', connections: 0, bytesIn: 0, bytesOut: 0 };
  for (const row of rows) {
    sum.connections += row.connections;
    sum.bytesIn += row.bytes_in;
    sum.bytesOut += row.bytes_out;
  }
  return sum;
}

function fromRow(row: TrafficRow): Traffic {
  return {
    protocol: row.protocol as Protocol,
    port: row.port,
    client: row.client,
    connections: row.connections,
    bytesIn: row.bytes_in,
    bytesOut: row.bytes_out,
    seenAt: new Date(row.seen_at),
  };
}

function keyOf(traffic: Traffic): string {
  return `${mappingKey(traffic)}/${traffic.client}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

const ROWS_AT_ONCE = 100;
/** SQLite wants a limit before an offset. */
const ALL = 1_000_000;
