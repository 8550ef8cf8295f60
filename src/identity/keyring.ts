import { randomBytes } from 'node:crypto';
import type { KeysOf } from '../protocol/handshake.ts';

/**
 * The keys that a server takes, up to two of each secret: `keys` from clients without a name, `clients` from those with one. A name that nobody has gets keys that
 * nobody has, so that neither the answer nor its time tells which names there are. Undefined without any secret.
 */
export function keyring(
  keys: readonly Uint8Array[],
  clients: ReadonlyMap<string, readonly Uint8Array[]> | null,
): KeysOf | undefined {
  if (keys.length === 0 && clients === null) return undefined;
  // Who has no secret of its own is known by its certificate, and has the one of the clients without a name, if there is one.
  const others = keys.length === 0 ? NONE : keys;
  const ring = new Map([...(clients ?? [])].map(([name, theirs]) => [name, padded(theirs.length === 0 ? others : theirs)]));
  ring.set('', padded(keys));
  return (client) => ring.get(client) ?? NOBODYS;
}

/** What is missing is made up for by keys that nobody has. */
function padded(keys: readonly (Uint8Array | null)[]): readonly (Uint8Array | null)[] {
  return [...keys, ...NOBODYS].slice(0, NOBODYS.length);
}

/** Keys of one run of the process. */
const NONE = [null];
const NOBODYS: readonly Uint8Array[] = [randomBytes(32), randomBytes(32)];
