import { equalBytes } from '../bytes.ts';
import { CONNECTION_ID, PARITY_TYPE, SHARD_TYPE } from '../connection-id.ts';
import type { Hmac } from '../handshake.ts';
import { SHARD_HEADER } from '../shard.ts';
import { expand } from './serial.ts';

/**
 * A parity shard (docs/PROTOCOL.md, "Parity"): number `j` of the group of `k` shards from `first` on.
 *
 *      0       1                   17                                               21       25
 *      +-------+-------------------+------------------------------------------------+--------+----------
 *      | 0x23  | connection id (16)| first (20 bits) | k − 1 (7 bits) | j (5 bits)  | tag u32| parity …
 *      +-------+-------------------+------------------------------------------------+--------+----------
 *
 * The tag is of everything else. It is the parity of the **inner** form of the shards, what their header says that the number does not, and their payload:
 *
 *      0                               1           3
 *      +-------------------------------+-----------+----------
 *      | count − 1 (4 bits), index (4) | length u16| payload …
 *      +-------------------------------+-----------+----------
 *
 * So a parity shard is exactly as long as the longest shard of its group, and datagrams need not be smaller for its sake.
 */
export interface ParityShard {
  readonly first: number;
  /** From 1 to 128. */
  readonly k: number;
  /** From 0 to 31. */
  readonly j: number;
}

export const PARITY_HEADER = 1 + CONNECTION_ID + 4 + 4;
export const INNER_HEADER = 3;

/** Writes the header to the beginning of `datagram`, but for its tag. */
export function writeParityHeader(datagram: Uint8Array, { first, k, j }: ParityShard, connectionId: Uint8Array): void {
  datagram[0] = PARITY_TYPE;
  datagram.set(connectionId, 1);
  const bits = (first % FIRST_WRAP) * 2 ** 12 + ((k - 1) << 5) + j;
  for (let i = 0; i < 4; i++) datagram[AT + i] = bits >>> (24 - 8 * i);
}

/** The header in `bytes[offset … offset + length)`; null for what is no parity shard. `near` is a number that `first` is near to. */
export function readParityHeader(bytes: Uint8Array, offset: number, length: number, near: number): ParityShard | null {
  if (length <= PARITY_HEADER + INNER_HEADER || bytes[offset] !== PARITY_TYPE) return null;
  const at = offset + AT;
  const low = (bytes[at + 2]! << 8) | bytes[at + 3]!;
  const first = expand((bytes[at]! << 12) | (bytes[at + 1]! << 4) | (low >>> 12), near, FIRST_WRAP);
  return first < 0 ? null : { first, k: ((low >>> 5) & 0x7f) + 1, j: low & 0x1f };
}

/** Writes the tag of the parity shard that `datagram` is. */
export function signParity(datagram: Uint8Array, hmac: Hmac, key: Uint8Array): void {
  datagram.set(parityTag(datagram, hmac, key), TAG_AT);
}

/** Whether the tag of the parity shard in `bytes[offset … offset + length)` was made with this key. */
export function isGenuineParity(bytes: Uint8Array, offset: number, length: number, hmac: Hmac, key: Uint8Array): boolean {
  if (length <= PARITY_HEADER) return false;
  const datagram = bytes.subarray(offset, offset + length);
  return equalBytes(datagram.subarray(TAG_AT, PARITY_HEADER), parityTag(datagram, hmac, key));
}

/** Writes the inner form of a shard to the beginning of `into` and returns its length. */
export function writeInner(into: Uint8Array, count: number, index: number, length: number, payload: Uint8Array): number {
  into[0] = ((count - 1) << 4) | index;
  into[1] = length >>> 8;
  into[2] = length;
  into.set(payload, INNER_HEADER);
  return INNER_HEADER + payload.length;
}

/** The same of the shard in `bytes[offset … offset + length)`, which carries something. */
export function innerOf(bytes: Uint8Array, offset: number, length: number, into: Uint8Array): number {
  const at = offset + 1 + CONNECTION_ID;
  const total = (bytes[at + 2]! << 8) | bytes[at + 3]!;
  return writeInner(into, bytes[at]!, bytes[at + 1]!, total, bytes.subarray(offset + SHARD_HEADER, offset + length));
}

/**
 * Makes shard `shard` again of its inner form, which is padded with zeros to the length of the longest of its group, and returns its length; 0 when it cannot be one.
 *
 * How long it was follows from that: unless it ends its block, it is as long as any; if it does, the others of the block are as long as the longest, since
 * no group begins with the end of a block.
 */
export function restoreShard(inner: Uint8Array, shard: number, into: Uint8Array): number {
  const count = (inner[0]! >>> 4) + 1;
  const index = inner[0]! & 0x0f;
  const total = (inner[1]! << 8) | inner[2]!;
  const longest = inner.length - INNER_HEADER;
  const size = index < count - 1 ? longest : total - longest * (count - 1);
  if (index >= count || shard < index || size < 1 || size > longest) return 0;
  const first = shard - index;
  into.fill(0, 0, SHARD_HEADER);
  into[0] = SHARD_TYPE;
  into.set([count, index, total >>> 8, total & 0xff, (first >>> 16) & 0xff, (first >>> 8) & 0xff, first & 0xff], 1 + CONNECTION_ID);
  into.set(inner.subarray(INNER_HEADER, INNER_HEADER + size), SHARD_HEADER);
  return SHARD_HEADER + size;
}

function parityTag(datagram: Uint8Array, hmac: Hmac, key: Uint8Array): Uint8Array {
  return hmac(key, datagram.subarray(0, TAG_AT), datagram.subarray(PARITY_HEADER)).subarray(0, PARITY_HEADER - TAG_AT);
}

const AT = 1 + CONNECTION_ID;
const TAG_AT = AT + 4;
const FIRST_WRAP = 2 ** 20;
