import { createHash } from 'node:crypto';

const MEGABYTE = 1024 * 1024;

/** Megabytes, no two of them alike, the same in every call: a byte that is missing, doubled or moved changes the hash. */
export function* blocks(megabytes) {
  for (let index = 0; index < megabytes; index++) {
    const block = Buffer.from(PATTERN);
    block.writeUInt32BE(index);
    yield block;
  }
}

export function hashOf(megabytes) {
  const hash = createHash('sha256');
  for (const block of blocks(megabytes)) hash.update(block);
  return hash.digest('hex');
}

const PATTERN = Buffer.from(Uint32Array.from({ length: MEGABYTE / 4 }, (_, index) => Math.imul(index, 0x9e3779b1)).buffer);
