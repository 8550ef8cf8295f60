import type { LinkOptions } from '../link/options.ts';
import type { LinkSettings } from '../protocol/messages.ts';
import { MAX_SHARDS } from '../protocol/shard.ts';

/** What this side tells the peer in HELLO or WELCOME. */
export function settingsOf(options: LinkOptions): LinkSettings {
  const { maxStreams, idleTimeout, buffer } = options;
  return { initialCredit: initialCredit(buffer), maxStreams, idleTimeout, shards: MAX_SHARDS, reuse: 0 };
}

/** Bytes that a stream may receive before it has granted more; `buffer` is the most it may ever hold. */
export function initialCredit(buffer: number): number {
  return Math.min(buffer, INITIAL_CREDIT);
}

/** Bytes. A stream that nobody reads holds no more than this until its reader has shown that it reads (ReceiveCredit doubles the window). */
const INITIAL_CREDIT = 256 * 1024;
