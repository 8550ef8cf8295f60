import type { Kysely } from 'kysely';
import type { Protocol } from '../mapping.ts';
import type { KeptMapping } from './store.ts';
import type { MappingRow, Tables } from './tables.ts';

export async function selectMappings(database: Kysely<Tables>): Promise<KeptMapping[]> {
  const rows = await database.selectFrom('mappings').selectAll().orderBy('protocol').orderBy('port').execute();
  return rows.map(fromRow);
}

/** Whether it was put in: false when there is one of its protocol and port. */
export async function insertMapping(database: Kysely<Tables>, kept: KeptMapping): Promise<boolean> {
  const { numInsertedOrUpdatedRows: inserted } = await database
    .insertInto('mappings')
    .values(toRow(kept))
    .onConflict((conflict) => conflict.columns(['protocol', 'port']).doNothing())
    .executeTakeFirstOrThrow();
  return inserted === 1n;
}

export async function deleteMapping(database: Kysely<Tables>, protocol: Protocol, port: number): Promise<boolean> {
  const { numDeletedRows: deleted } = await database
    .deleteFrom('mappings')
    .where('protocol', '=', protocol)
    .where('port', '=', port)
    .executeTakeFirstOrThrow();
  return deleted > 0n;
}

function toRow({ mapping, createdAt }: KeptMapping): MappingRow {
  const { protocol, port, via, agent, target, allow, bandwidth, note } = mapping;
  return {
    protocol,
    port,
    via,
    agent,
    target_host: target.host,
    target_port: target.port,
    allow: JSON.stringify(allow),
    bandwidth: Number.isFinite(bandwidth) ? bandwidth : null,
    note,
    created_at: createdAt.getTime(),
  };
}

function fromRow(row: MappingRow): KeptMapping {
  return {
    mapping: {
      protocol: row.protocol as Protocol,
      port: row.port,
      via: row.via as KeptMapping['mapping']['via'],
      agent: row.agent,
      target: { host: row.target_host, port: row.target_port },
      allow: JSON.parse(row.allow) as string[],
      bandwidth: row.bandwidth ?? Infinity,
      note: row.note,
    },
    createdAt: new Date(row.created_at),
  };
}
