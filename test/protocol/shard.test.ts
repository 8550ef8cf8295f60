import { test } from 'tap';
import { destinationId, packetForm } from '../../src/protocol/connection-id.ts';
import { BLOCK_IDS, MAX_SHARDS, SHARD_HEADER, SHARD_INDEX_AT, writeShardHeader } from '../../src/protocol/shard.ts';
import { ID, shard } from './shards.ts';

test('a shard’s header: the bytes on the wire', async (t) => {
  const datagram = new Uint8Array(SHARD_HEADER + 2).fill(0xff);
  writeShardHeader(datagram, { count: 12, index: 3, length: 0x3c28, blockId: 0x010203 }, ID);
  t.same([...datagram], [0x20, ...ID, 12, 3, 0x3c, 0x28, 1, 2, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  t.equal(datagram[SHARD_INDEX_AT], 3);
});

test('the largest values stay within their fields', async (t) => {
  const header = { count: MAX_SHARDS, index: MAX_SHARDS - 1, length: 0xffff, blockId: BLOCK_IDS - 1 };
  t.same([...shard(header, Uint8Array.of(7)).subarray(17)], [16, 15, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 7]);
});

test('a shard is found to be one, and its connection, by the bytes it begins with', async (t) => {
  const datagram = shard({ count: 2, index: 0, length: 2, blockId: 0 }, Uint8Array.of(7));
  t.equal(packetForm(datagram[0]!), 'shard');
  t.same(destinationId(datagram, 0, datagram.length), ID);
  t.equal(destinationId(datagram, 0, 16), null, 'cut within the id');
});

test('no first byte but one is a shard’s, and that one is never QUIC’s', async (t) => {
  for (let byte = 0; byte < 256; byte++) {
    t.equal(packetForm(byte) === 'shard', byte === 0x20, `0x${byte.toString(16)}`);
    const isQuic = ['long', 'short'].includes(packetForm(byte));
    t.equal(isQuic, (byte & 0x40) !== 0, `0x${byte.toString(16)}`);
  }
});
