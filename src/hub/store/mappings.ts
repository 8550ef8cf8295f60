import type { Kysely } from 'kysely';
import { z } from 'zod';
import { NAME } from '../../config/values.ts';
import { QtunnelError } from '../../errors.ts';
import type { Mapping, Protocol } from '../mapping.ts';
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

/** Whether there is one of its protocol and port. */
export async function updateMapping(database: Kysely<Tables>, mapping: Mapping): Promise<boolean> {
  const { protocol, port, ...columns } = columnsOf(mapping);
  const { numUpdatedRows: updated } = await database
    .updateTable('mappings')
    .set(columns)
    .where('protocol', '=', protocol)
    .where('port', '=', port)
    .executeTakeFirstOrThrow();
  return updated > 0n;
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
  return { ...columnsOf(mapping), created_at: createdAt.getTime() };
}

function columnsOf({ protocol, port, via, agent, target, allow, bandwidth, note }: Mapping): Omit<MappingRow, 'created_at'> {
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
  };
}

/** @throws QtunnelError `DATABASE_FAILED` for what this program has not written */
function fromRow(row: MappingRow): KeptMapping {
  const checked = written.safeParse(row);
  if (!checked.success) throw damaged(row, checked.error);
  const { protocol, port, via, agent, target_host: host, target_port: targetPort, allow, bandwidth, note, ...rest } = checked.data;
  const mapping = { protocol, port, via, agent, target: { host, port: targetPort }, allow, bandwidth: bandwidth ?? Infinity, note };
  return { mapping, createdAt: new Date(rest.created_at) };
}

function damaged({ protocol, port }: MappingRow, error: z.ZodError): QtunnelError {
  const columns = [...new Set(error.issues.map(({ path }) => String(path[0])))].join(', ');
  return new QtunnelError(
    'DATABASE_FAILED',
    `The database has a mapping that no hub has written: ${protocol}/${port} in the table mappings, ${columns}. Correct the row, or delete it.`,
  );
}

/** Undefined for what is not JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const port = z.int().min(1).max(65_535);
const networks = z.array(z.string());
/** What `toRow` makes. */
const written = z.object({
  protocol: z.enum(['tcp', 'udp']),
  port,
  via: z.enum(['agent', 'direct']),
  agent: z.union([z.literal(''), z.string().regex(NAME)]),
  target_host: z.string().min(1),
  target_port: port,
  allow: z.string().transform((text, context) => {
    const parsed = networks.safeParse(jsonOf(text));
    if (parsed.success) return parsed.data;
    context.addIssue('no list of networks');
    return z.NEVER;
  }),
  bandwidth: z.number().positive().nullable(),
  note: z.string(),
  created_at: z.number().min(0).max(8.64e15),
});
