import { CONNECTION_ID } from '../../src/protocol/connection-id.ts';
import { BlockPool } from '../../src/protocol/reassembly.ts';
import { SHARD_HEADER, type Shard, writeShardHeader } from '../../src/protocol/shard.ts';

export const ID = Uint8Array.from({ length: CONNECTION_ID }, (_, i) => 0xa0 + i);

/** A datagram with the header and the payload given, whether they fit each other or not. */
export function shard(header: Shard, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const datagram = new Uint8Array(SHARD_HEADER + payload.length);
  writeShardHeader(datagram, header, ID);
  datagram.set(payload, SHARD_HEADER);
  return datagram;
}

/** The datagrams of a block with `share` bytes of the packet in each. */
export function shardsOf(packet: Uint8Array, share: number, blockId: number): Uint8Array<ArrayBuffer>[] {
  const count = Math.ceil(packet.length / share);
  return Array.from({ length: count }, (_, index) =>
    shard({ count, index, length: packet.length, blockId }, packet.subarray(index * share, (index + 1) * share)),
  );
}

/** A packet whose bytes say which one it is and where in it they stand. */
export function packetOf(seed: number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => Math.imul(i + 1, 2654435761 + 2 * seed) >>> 24);
}

/** Counts the buffers that are in use. */
export class CountingPool extends BlockPool {
  used = 0;
  most = 0;

  override take(): Uint8Array {
    this.most = Math.max(this.most, ++this.used);
    // What a block leaves unwritten is not another block's bytes.
    return super.take().fill(0xee);
  }

  override give(bytes: Uint8Array): void {
    this.used--;
    super.give(bytes);
  }
}
