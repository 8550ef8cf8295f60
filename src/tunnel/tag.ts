import { randomBytes } from 'node:crypto';
import { TAG } from '../protocol/messages.ts';

/** A new connection's name in the logs of both sides: 16 hexadecimal digits by chance. */
export function newTag(): string {
  if (used === pool.length) {
    pool = randomBytes(POOL);
    used = 0;
  }
  used += TAG;
  return pool.toString('hex', used - TAG, used);
}

/** Bytes: a call for eight of them costs 2 µs and more, one for many hardly longer. */
const POOL = 512 * TAG;
let pool = randomBytes(POOL);
let used = 0;
