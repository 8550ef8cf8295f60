import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { FlagValues } from './values.ts';

/** Says what a reload has taken over, by the names of the flags: what was changed, what files were read again, and what counts after a restart only. */
export function tellChanges(log: Logger, { atStart, before, now }: Record<'atStart' | 'before' | 'now', FlagValues>): void {
  const differing = (from: FlagValues) => [...now.keys()].filter((name) => !isDeepStrictEqual(from.get(name), now.get(name)));
  const changed = differing(before).filter((name) => !AFTER_RESTART.has(name));
  const restart = differing(atStart).filter((name) => AFTER_RESTART.has(name));
  const files = FILES.filter((name) => typeof now.get(name) === 'string');
  const parts = [
    changed.length === 0 ? 'no setting was changed' : `taken over: ${changed.join(', ')}`,
    ...(files.length === 0 ? [] : [`read again: ${files.join(', ')}`]),
    ...(restart.length === 0 ? [] : [`only after a restart: ${restart.join(', ')}`]),
  ];
  log[restart.length === 0 ? 'info' : 'warn']({ event: 'taken_over', changed, files, restart }, parts.join('; '));
}

const AFTER_RESTART: ReadonlySet<string> = new Set(['tunnel', 'api', 'api-tls', 'database']);
const FILES = ['secret-file', 'clients', 'cert-file', 'key-file', 'client-ca', 'ca-file', 'api-token-file'];
