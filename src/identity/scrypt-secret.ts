import { scrypt, scryptSync } from 'node:crypto';

/** The key of docs/PROTOCOL.md "Proofs". Takes about 0.2 s and 64 MiB: for the identity thread; elsewhere call `stretchSecret`. */
export function scryptSecret(secret: string): Uint8Array {
  return new Uint8Array(scryptSync(secret, SALT, KEY_BYTES, OPTIONS));
}

/** The same on one of libuv's four threads, which files and names need too. */
export function scryptAtLibuv(secret: string): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    scrypt(secret, SALT, KEY_BYTES, OPTIONS, (error, key) => (error === null ? resolve(new Uint8Array(key)) : reject(error)));
  });
}

const SALT = 'qtunnel/1';
const KEY_BYTES = 32;
const N = 2 ** 16;
const BLOCK_SIZE = 8;
/** RFC 7914 §2: 128 · N · r; node refuses to use more than `maxmem`. */
const SCRYPT_BYTES = 128 * N * BLOCK_SIZE;
const OPTIONS = { N, r: BLOCK_SIZE, p: 1, maxmem: 2 * SCRYPT_BYTES };
