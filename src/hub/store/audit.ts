import type { Kysely, Selectable } from 'kysely';
import type { AuditAction, AuditEntry, Author } from './store.ts';
import type { AuditRow, Tables } from './tables.ts';

/** Writes down one change; in its transaction, so that neither is there without the other. */
export async function record(
  database: Kysely<Tables>,
  { actor, peer }: Author,
  action: AuditAction,
  subject: string,
  detail: Readonly<Record<string, unknown>>,
): Promise<void> {
  const row = { at: Date.now(), actor, peer, action, subject, detail: JSON.stringify(detail) };
  const { id } = await database.insertInto('audit').values(row).returning('id').executeTakeFirstOrThrow();
  await database
    .deleteFrom('audit')
    .where('id', '<=', id - MOST_ENTRIES)
    .execute();
}

export async function readAudit(database: Kysely<Tables>, limit: number, before?: number): Promise<AuditEntry[]> {
  const all = database.selectFrom('audit').selectAll().orderBy('id', 'desc').limit(limit);
  const rows = await (before === undefined ? all : all.where('id', '<', before)).execute();
  return rows.map(fromRow);
}

function fromRow({ id, at, actor, peer, action, subject, detail }: Selectable<AuditRow>): AuditEntry {
  const parsed = JSON.parse(detail) as Record<string, unknown>;
  return { id, at: new Date(at), actor, peer, action: action as AuditAction, subject, detail: parsed };
}

/** The last so many are kept. */
const MOST_ENTRIES = 100_000;
