import type { Kysely } from 'kysely';
import type { KeptToken, Role } from './store.ts';
import type { TokenRow, Tables } from './tables.ts';

export async function selectTokens(database: Kysely<Tables>): Promise<KeptToken[]> {
  const rows = await database.selectFrom('tokens').selectAll().orderBy('created_at').orderBy('id').execute();
  return rows.map(fromRow);
}

export async function insertToken(database: Kysely<Tables>, { createdAt, ...token }: KeptToken): Promise<void> {
  await database
    .insertInto('tokens')
    .values({ ...token, created_at: createdAt.getTime() })
    .execute();
}

export async function deleteToken(database: Kysely<Tables>, id: string): Promise<boolean> {
  const { numDeletedRows: deleted } = await database.deleteFrom('tokens').where('id', '=', id).executeTakeFirstOrThrow();
  return deleted > 0n;
}

function fromRow({ id, name, role, hash, created_at: createdAt }: TokenRow): KeptToken {
  return { id, name, role: role as Role, hash, createdAt: new Date(createdAt) };
}
