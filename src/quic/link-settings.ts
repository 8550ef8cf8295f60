import type { LinkOptions } from '../link/options.ts';
import { MAX_DATAGRAM } from '../protocol/datagrams.ts';
import type { LinkSettings } from '../protocol/messages.ts';
import { MAX_SHARDS } from '../protocol/shard.ts';
import type { UdpKind } from '../udp/open.ts';
import { type QuicTuning, usesBlocks } from './config.ts';

export type QuicOptions = LinkOptions & QuicTuning & { readonly udp: UdpKind };

/** What this side tells the peer in HELLO or WELCOME; `rtt` is the path's round trip in milliseconds. */
export function settingsOf(options: QuicOptions, rtt: number): LinkSettings {
  const { maxStreams, idleTimeout, buffer } = options;
  return {
    initialCredit: initialCredit(buffer, rtt),
    maxStreams,
    idleTimeout,
    shards: usesBlocks(options) ? MAX_SHARDS : 0,
    parity: usesBlocks(options) && options.fec !== 'off' ? 1 : 0,
    serverOpens: options.serverOpens === true ? 1 : 0,
    datagrams: options.datagrams === true ? MAX_DATAGRAM : 0,
    reuse: 0,
    lane: 0,
    endpoints: options.wantsEndpoints ? 1 : 0,
  };
}

/**
 * Bytes that a stream may receive before it has granted more; `buffer` is the most it may ever hold. A stream that nobody reads holds no more than this
 * until its reader has shown that it reads (ReceiveCredit doubles the window), but one that is read should not wait for that on a long path.
 */
function initialCredit(buffer: number, rtt: number): number {
  return Math.min(buffer, Math.max(LEAST_CREDIT, rtt * RATE_AT_FIRST));
}

const LEAST_CREDIT = 256 * 1024;
/** Bytes a millisecond: 100 Mbit/s for two round trips and a half, of which a lost datagram takes one. */
const RATE_AT_FIRST = 32_000;
