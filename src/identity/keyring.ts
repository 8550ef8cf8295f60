import { randomBytes } from 'node:crypto';
import type { KeysOf } from '../protocol/handshake.ts';

/** The keys that a server takes: up to two of its secret, while it changes; undefined without a secret. */
export function keyring(keys: readonly Uint8Array[]): KeysOf | undefined {
  if (keys.length === 0) return undefined;
  const both = padded(keys);
  return () => both;
}

/** What is missing is made up for by keys that nobody has. */
function padded(keys: readonly Uint8Array[]): readonly Uint8Array[] {
  return [...keys, ...NOBODYS].slice(0, NOBODYS.length);
}

/** Keys of one run of the process. */
const NOBODYS: readonly Uint8Array[] = [randomBytes(32), randomBytes(32)];
