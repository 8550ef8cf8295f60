import { readClientsFile } from '../config/clients.ts';
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
  const read = typeof source === 'string' ? await readClientsFile(source) : { clients: source, warnings: [] };
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

function of(name: string, error: unknown): unknown {
  return error instanceof QtunnelError
    ? new QtunnelError(error.code, `The client ${name}: ${error.message}`, { cause: error })
    : error;
}
