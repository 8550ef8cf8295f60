import path from 'node:path';
import { z } from 'zod';
import { readPrivateText } from '../identity/files.ts';
import { type FlagShape, findFlag } from './flags.ts';
import { expecting, firstError, valueOf } from './schema.ts';
import type { ClientEntry } from './settings.ts';
import { suggestion } from './suggest.ts';
import { NAME } from './values.ts';
import { readYaml } from './yaml.ts';

/**
 * The clients of a `-clients` file: under `clients`, each client's name with what it has. Relative paths in it are relative to the file's folder.
 * @throws QtunnelError `FILE_UNREADABLE`; `CONFIG_INVALID` naming the file, the line, the key, and what was expected.
 */
export async function readClientsFile(file: string): Promise<{ clients: readonly ClientEntry[]; warnings: readonly string[] }> {
  const { text, warnings } = await readPrivateText(file, 'clients file');
  const yaml = readYaml(text, file);
  const schema = z.strictObject({ clients: clientsSchema(path.dirname(file)) }, { error: expecting('the key clients:') });
  const checked = schema.safeParse(yaml.plain ?? {});
  if (!checked.success) throw firstError(checked.error, yaml, file, unknownClientKey);
  return { clients: checked.data.clients, warnings };
}

/** The entries under `clients`, here or in a `-conf` file. */
export function clientsSchema(folder: string) {
  const shape = Object.fromEntries(FIELDS.map((flag) => [flag.name, valueOf(flag, folder).optional()]));
  const entry = z
    .strictObject(shape, { error: expecting('what the client has, such as secret-file: FILE') })
    .refine((given) => (given['secret'] === undefined) !== (given['secret-file'] === undefined), {
      error: 'expected either secret or secret-file',
    });
  const names = z.string().regex(NAME, { error: 'expected a name of letters, digits, "-", "_" and "."' });
  return z
    .record(names, entry, { error: expecting('clients under their names, such as laptop: { secret-file: FILE }') })
    .transform((clients) => Object.entries(clients).map(([name, given]): ClientEntry => entryOf(name, given)));
}

/** What is wrong with a key of a client. */
export function unknownClientKey(key: string): string {
  const known = FIELDS.map(({ name }) => name);
  const hint = suggestion(key, known, '');
  return `unknown key${hint === '' ? `; expected one of ${known.join(', ')}` : hint}`;
}

function entryOf(name: string, given: Readonly<Record<string, unknown>>): ClientEntry {
  const get = <T>(key: string): T | null => (given[key] as T | undefined) ?? null;
  return {
    name,
    secret: get('secret'),
    secretFile: get('secret-file'),
    backends: get('backends'),
    maxConnections: get('max-connections'),
    bandwidth: get('bandwidth'),
  };
}

const FIELDS: readonly FlagShape[] = [
  findFlag('secret')!,
  findFlag('secret-file')!,
  { name: 'backends', group: '', scope: 'tunnel', kind: 'list', help: 'names of the backends that the client may reach' },
  findFlag('max-connections')!,
  findFlag('bandwidth')!,
];
