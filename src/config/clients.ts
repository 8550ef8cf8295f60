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
    .refine((given) => given['secret'] === undefined || given['secret-file'] === undefined, {
      error: 'expected either secret or secret-file',
    })
    .refine((given) => PROOFS.some((proof) => given[proof] !== undefined), {
      error: 'expected a secret-file, a secret or a fingerprint',
    });
  const names = z.string().regex(NAME, { error: 'expected a name of letters, digits, "-", "_" and "."' });
  return z
    .record(names, entry, { error: expecting('clients under their names, such as laptop: { secret-file: FILE }') })
    .transform((clients) => Object.entries(clients).map(([name, given]): ClientEntry => entryOf(name, given)))
    .superRefine((clients, context) => {
      const [second, first] = sharers(clients);
      if (second === undefined) return;
      const message = `has a certificate that is ${first}'s: give each client one of its own`;
      context.addIssue({ code: 'custom', path: [second, 'fingerprint'], message });
    });
}

/** Two clients with one fingerprint, the later first. */
function sharers(clients: readonly ClientEntry[]): readonly [string, string] | readonly [] {
  const owners = new Map<string, string>();
  for (const { name, fingerprints } of clients) {
    for (const print of fingerprints ?? []) {
      const owner = owners.get(print);
      if (owner !== undefined && owner !== name) return [name, owner];
      owners.set(print, name);
    }
  }
  return [];
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
    fingerprints: get('fingerprint'),
    backends: get('backends'),
    maxConnections: get('max-connections'),
    bandwidth: get('bandwidth'),
    ports: get('ports'),
  };
}

const PROOFS = ['secret', 'secret-file', 'fingerprint'] as const;
const FIELDS: readonly FlagShape[] = [
  findFlag('secret')!,
  findFlag('secret-file')!,
  { name: 'fingerprint', group: '', scope: 'tunnel', kind: 'fingerprints', help: 'of the certificate that the client has to show' },
  { name: 'backends', group: '', scope: 'tunnel', kind: 'list', help: 'names of the backends that the client may reach' },
  findFlag('max-connections')!,
  findFlag('bandwidth')!,
  { name: 'ports', group: '', scope: 'tunnel', kind: 'ports', help: 'public ports of a hub that the client may ask for' },
];
