import { timingSafeEqual as compareSameLength, createHmac, hash, randomBytes } from 'node:crypto';
import { QtunnelError } from '../errors.ts';
import { readPrivateText } from './files.ts';
import { scryptAtLibuv } from './scrypt-secret.ts';
import { runInWorker } from './workers.ts';

export interface LoadedSecrets {
  /** The secret first that a client offers; after it another that a server takes as well. Empty without a secret. */
  readonly secrets: readonly string[];
  readonly warnings: readonly string[];
}

/**
 * The secret, from itself or from a file. A file may have a second one in a second line, while clients change from that to the first.
 * @throws QtunnelError `CONFIG_INVALID` when both are given, `FILE_UNREADABLE`, `SECRET_INVALID` when there is none in the file, more than two, or it is not text.
 */
export async function loadSecrets(secret: string | null, secretFile: string | null): Promise<LoadedSecrets> {
  if (secret !== null && secretFile !== null) {
    throw new QtunnelError('CONFIG_INVALID', 'Both -secret and -secret-file are given: leave one of them out.');
  }
  if (secretFile !== null) return await readSecretFile(secretFile);
  if (secret?.trim() === '') throw new QtunnelError('SECRET_INVALID', 'The secret is empty: give one, or leave -secret out.');
  return { secrets: secret === null ? [] : [secret], warnings: [] };
}

async function readSecretFile(path: string): Promise<LoadedSecrets> {
  const { text, warnings } = await readPrivateText(path, 'secret file');
  const secrets = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  if (secrets.length === 0) throw new QtunnelError('SECRET_INVALID', `The secret file ${path} is empty: write the secret into it.`);
  if (secrets.length > MOST_SECRETS) {
    throw new QtunnelError(
      'SECRET_INVALID',
      `The secret file ${path} has ${secrets.length} lines: write the secret into it, and below it at most the one before.`,
    );
  }
  if (text.includes(REPLACEMENT_CHARACTER)) {
    throw new QtunnelError(
      'SECRET_INVALID',
      `The secret file ${path} is not UTF-8 text: write the secret in base64 or hexadecimal digits.`,
    );
  }
  return { secrets, warnings };
}

/**
 * The 32-byte key that the proofs are made with (docs/PROTOCOL.md, "Proofs"), stretched off the main thread, once per secret. The
 * result is shared: do not write to it.
 */
export function stretchSecret(secret: string): Promise<Uint8Array> {
  const name = Buffer.from(hmacSha256(CACHE_KEY, Buffer.from(secret))).toString('hex');
  const known = stretched.get(name);
  if (known !== undefined) return known;
  const stretching = stretch(secret);
  stretched.set(name, stretching);
  stretching.catch(() => stretched.delete(name));
  return stretching;
}

/**
 * The one or two of a tunnel on libuv's threads, which are there already: a thread of its own would cost a start half as much again. Those of many clients on identity threads,
 * so that files and names do not wait for them.
 */
async function stretch(secret: string): Promise<Uint8Array> {
  if (atLibuv >= MOST_AT_LIBUV) return await runInWorker('scryptSecret', secret);
  atLibuv++;
  try {
    return await scryptAtLibuv(secret);
  } catch (cause) {
    throw new QtunnelError('INTERNAL', `The secret cannot be stretched: ${(cause as Error).message}.`, { cause });
  } finally {
    atLibuv--;
  }
}

let atLibuv = 0;

/**
 * HMAC-SHA256 over the parts one after another: 32 bytes. Short ones, which strangers' datagrams and reports come with by the thousand, are put together of two
 * hashes (RFC 2104): `createHmac` makes objects that keep the garbage collector busy, 3 µs each against 1.3.
 */
export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  let end = HASHED_BLOCK;
  for (const part of parts) end += part.length;
  if (key.length > HASHED_BLOCK || end > INNER.length) return hmacOfAnyLength(key, parts);
  for (let i = 0; i < HASHED_BLOCK; i++) {
    const byte = key[i] ?? 0;
    INNER[i] = byte ^ 0x36;
    OUTER[i] = byte ^ 0x5c;
  }
  let at = HASHED_BLOCK;
  for (const part of parts) {
    INNER.set(part, at);
    at += part.length;
  }
  // As text of one byte a character: a buffer would cost more than the hash.
  OUTER.write(hash('sha256', INNER.subarray(0, end), 'binary'), HASHED_BLOCK, 'latin1');
  const digest = hash('sha256', OUTER, 'binary');
  const bytes = new Uint8Array(DIGEST);
  for (let i = 0; i < DIGEST; i++) bytes[i] = digest.charCodeAt(i);
  return bytes;
}

function hmacOfAnyLength(key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac('sha256', key);
  for (const part of parts) hmac.update(part);
  return new Uint8Array(hmac.digest());
}

/** Whether both hold the same bytes, in a time that tells nothing but their lengths. */
export function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareSameLength(a, b);
}

/** By an HMAC of the secret under a key of this process, so that the cache is no further copy of it. */
const stretched = new Map<string, Promise<Uint8Array>>();
const CACHE_KEY = randomBytes(32);
const MOST_SECRETS = 2;
/** Half of libuv's threads. */
const MOST_AT_LIBUV = 2;
/** Bytes that SHA-256 takes at a time, and makes. */
const HASHED_BLOCK = 64;
const DIGEST = 32;
/** What the two hashes are of; the longest that comes often is a report, in a datagram. */
const INNER = Buffer.alloc(2048);
const OUTER = Buffer.alloc(HASHED_BLOCK + DIGEST);
/** What the UTF-8 decoder puts in the place of bytes that are none. */
const REPLACEMENT_CHARACTER = '\uFFFD';
