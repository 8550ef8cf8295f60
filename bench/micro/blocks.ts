import { CONNECTION_ID } from '../../src/protocol/connection-id.ts';
import { Arrivals } from '../../src/protocol/delivery/arrivals.ts';
import { BlockPool } from '../../src/protocol/delivery/block-pool.ts';
import { SHARD_HEADER, writeShardHeader } from '../../src/protocol/shard.ts';
import type { Case } from './case.ts';

/** A packet cut into the shards of a block, and put together again. */
export function blockCases(): Case[] {
  return [2, 6, 12].map((count) => {
    const payload = DATAGRAM - SHARD_HEADER;
    const packet = new Uint8Array(count * payload - 10).fill(1);
    const shards = Array.from({ length: count }, () => new Uint8Array(DATAGRAM));
    const peerId = new Uint8Array(CONNECTION_ID).fill(2);
    let whole = 0;
    const arrivals = new Arrivals(new BlockPool(), () => void whole++);
    let next = 0;
    const run = () => {
      whole = 0;
      for (let block = 0; block < BLOCKS; block++) {
        for (const [index, shard] of shards.entries()) {
          writeShardHeader(shard, { count, index, length: packet.length, blockId: next }, peerId);
          const part = packet.subarray(index * payload, (index + 1) * payload);
          shard.set(part, SHARD_HEADER);
          arrivals.handleShard(shard, 0, SHARD_HEADER + part.length, 0);
        }
        next += count;
      }
      if (whole !== BLOCKS) throw new Error('Blocks are missing.');
    };
    return { name: `blocks: cut into ${count} and put together`, bytes: BLOCKS * packet.length, operations: BLOCKS, run };
  });
}

const DATAGRAM = 1350;
const BLOCKS = 20;
