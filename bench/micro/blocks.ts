import { hmacSha256 } from '../../src/identity/secret.ts';
import { CONNECTION_ID } from '../../src/protocol/connection-id.ts';
import { Arrivals } from '../../src/protocol/delivery/arrivals.ts';
import { BlockPool } from '../../src/protocol/delivery/block-pool.ts';
import { SHARD_HEADER, writeShardHeader } from '../../src/protocol/shard.ts';
import { ShardSeal } from '../../src/quic/packetization/shard-seal.ts';
import type { Case } from './case.ts';

/** A packet cut into the shards of a block, and put together again; with tags on the shards, which are looked at, and without. */
export function blockCases(): Case[] {
  return [2, 6, 12].flatMap((count) => [blockCase(count, false), blockCase(count, true)]);
}

function blockCase(count: number, tagged: boolean): Case {
  const payload = DATAGRAM - SHARD_HEADER;
  const packet = new Uint8Array(count * payload - 10).fill(1);
  const shards = Array.from({ length: count }, () => new Uint8Array(DATAGRAM));
  const peerId = new Uint8Array(CONNECTION_ID).fill(2);
  const [near, far] = [new ShardSeal(KEY, hmacSha256), new ShardSeal(KEY, hmacSha256)];
  let whole = 0;
  const arrivals = new Arrivals(new BlockPool(), () => void whole++);
  let next = 0;
  const run = () => {
    whole = 0;
    for (let block = 0; block < BLOCKS; block++) {
      for (const [index, shard] of shards.entries()) {
        writeShardHeader(shard, { count, index, length: packet.length, blockId: next }, peerId);
        const part = packet.subarray(index * payload, (index + 1) * payload);
        const length = SHARD_HEADER + part.length;
        shard.set(part, SHARD_HEADER);
        if (tagged) near.signShard(shard, length, next + index);
        if (!tagged || far.isShard(shard, 0, length, arrivals.next)) arrivals.handleShard(shard, 0, length, 0);
      }
      next += count;
    }
    if (whole !== BLOCKS) throw new Error('Blocks are missing.');
  };
  return {
    name: `blocks: cut into ${count} and put together${tagged ? ', with tags' : ''}`,
    bytes: BLOCKS * packet.length,
    operations: BLOCKS,
    run,
  };
}

const KEY = new Uint8Array(32).fill(3);
const DATAGRAM = 1350;
const BLOCKS = 20;
