import type { ClientEntry } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { loadSecrets } from './secret.ts';

export interface LoadedClients {
  readonly clients: readonly (ClientEntry & { readonly secrets: readonly string[] })[];
  readonly warnings: readonly string[];
}

/**
 * A server's named clients with their secrets; null when there are to be none.
 * @throws QtunnelError `FILE_UNREADABLE`, `CONFIG_INVALID`, `SECRET_INVALID`.
 */
export async function loadClients(source: string | readonly ClientEntry[] | null): Promise<LoadedClients | null> {
  if (source === null) return null;
  const read = typeof source === 'string' ? await readFile(source) : { clients: source, warnings: [] };
  const warnings = [...read.warnings];
  const clients = [];
  for (const entry of read.clients) {
    const loaded = await loadSecrets(entry.secret, entry.secretFile).catch((error: unknown) => {
      throw of(entry.name, error);
    });
    warnings.push(...loaded.warnings);
    clients.push({ ...entry, secrets: loaded.secrets });
  }
  return { clients, warnings };
}

/** What reads YAML and checks it is loaded where there is some. */
async function readFile(file: string): Promise<Omit<LoadedClients, 'clients'> & { readonly clients: readonly ClientEntry[] }> {
  const { readClientsFile } = await import('../config/clients.ts');
  return await readClientsFile(file);
}

function of(name: string, error: unknown): unknown {
  return error instanceof QtunnelError
    ? new QtunnelError(error.code, `The client ${name}: ${error.message}`, { cause: error })
    : error;
}
