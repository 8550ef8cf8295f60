import { CONNECTION_ID, SHARD_TYPE } from './connection-id.ts';

/**
 * Blocks (docs/PROTOCOL.md, "Blocks"): a QUIC packet, or several small ones (bundle.ts), travel as a block of `count` shards, each a datagram with this header.
 * Shards are numbered one after another; `block id` is the number of the block's first.
 *
 *      0        1                          17       18       19           21             24        28
 *      +--------+--------------------------+--------+--------+------------+--------------+---------+--------------
 *      | 0x20   | connection id (16 bytes) | count  | index  | length u16 | block id u24 | tag u32 | payload …
 *      +--------+--------------------------+--------+--------+------------+--------------+---------+--------------
 *
 * `length` is the packet's. All shards but the last carry equally much, so where a shard's payload belongs follows from its index and size. The first
 * byte has QUIC's fixed bit clear, so no packet of QUIC v1 looks like it (RFC 9443); the connection id is where a short header has it, so that both are
 * routed alike and can be told apart from each other in a run. The tag is for delivery/shard-tag.ts.
 */
export const SHARD_HEADER = 28;
export const SHARD_INDEX_AT = 18;
export const SHARD_TAG_AT = 24;
/** 12 shards of a 1350-byte datagram are the largest packet that quiche makes (16,383 bytes). */
export const MAX_SHARDS = 16;
export const BLOCK_IDS = 2 ** 24;

export interface Shard {
  readonly count: number;
  readonly index: number;
  /** Of the whole packet. */
  readonly length: number;
  /** The number of the block's first shard; its last 24 bits are what travels. */
  readonly blockId: number;
}

/** Writes the header to the beginning of `datagram`, but for its tag. */
export function writeShardHeader(datagram: Uint8Array, { count, index, length, blockId }: Shard, connectionId: Uint8Array): void {
  datagram[0] = SHARD_TYPE;
  datagram.set(connectionId, 1);
  datagram[REST] = count;
  datagram[REST + 1] = index;
  datagram[REST + 2] = length >>> 8;
  datagram[REST + 3] = length;
  datagram[REST + 4] = blockId >>> 16;
  datagram[REST + 5] = blockId >>> 8;
  datagram[REST + 6] = blockId;
}

const REST = 1 + CONNECTION_ID;
