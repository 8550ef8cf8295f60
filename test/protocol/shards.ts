import { CONNECTION_ID } from '../../src/protocol/connection-id.ts';
import { BlockPool } from '../../src/protocol/delivery/block-pool.ts';
import { SHARD_HEADER, type Shard, writeShardHeader } from '../../src/protocol/shard.ts';

export const ID = Uint8Array.from({ length: CONNECTION_ID }, (_, i) => 0xa0 + i);

/** A datagram with the header and the payload given, whether they fit each other or not. */
export function shard(header: Shard, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const datagram = new Uint8Array(SHARD_HEADER + payload.length);
  writeShardHeader(datagram, header, ID);
  datagram.set(payload, SHARD_HEADER);
  return datagram;
}

/** The datagrams of a block with `share` bytes of the packet in each; `first` may be beyond what fits the wire. */
export function shardsOf(packet: Uint8Array, share: number, first: number): Uint8Array<ArrayBuffer>[] {
  const count = Math.ceil(packet.length / share);
  return Array.from({ length: count }, (_, index) =>
    shard({ count, index, length: packet.length, blockId: first }, packet.subarray(index * share, (index + 1) * share)),
  );
}

/** A packet whose bytes say which one it is and where in it they stand. */
export function packetOf(seed: number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => Math.imul(i + 1, 2654435761 + 2 * seed) >>> 24);
}

/** Counts the buffers that are in use, and their bytes; as hard on its users as it may be. */
export class CountingPool extends BlockPool {
  used = 0;
  usedBytes = 0;
  mostBytes = 0;
  readonly #out = new Set<Uint8Array>();

  override take(size: number): Uint8Array {
    const bytes = super.take(size);
    if (bytes.length < size) throw new Error(`${bytes.length} bytes instead of ${size}`);
    if (this.#out.has(bytes)) throw new Error('a buffer that is in use');
    this.#out.add(bytes);
    this.used++;
    this.usedBytes += bytes.length;
    this.mostBytes = Math.max(this.mostBytes, this.usedBytes);
    // What a block leaves unwritten is not another block's bytes.
    return bytes.fill(0xee);
  }

  override give(bytes: Uint8Array): void {
    if (!this.#out.delete(bytes)) throw new Error('a buffer that is not in use was given back');
    this.used--;
    this.usedBytes -= bytes.length;
    super.give(bytes.fill(0xdd));
  }
}
