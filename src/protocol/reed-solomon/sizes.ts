/** Bytes of a shard at most: more than any datagram of an Ethernet carries. */
export const MAX_SHARD = 1500;

/** Shards of a group at most. */
export const MAX_DATA = 128;
export const MAX_PARITY = 32;

/** Bytes between one row of an accumulator and the next: a shard in whole vectors of 16 bytes. */
export const ROW = Math.ceil(MAX_SHARD / 16) * 16;
