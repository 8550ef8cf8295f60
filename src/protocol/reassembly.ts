import { CONNECTION_ID, SHARD_TYPE } from './connection-id.ts';
import { MAX_SHARDS, SHARD_HEADER } from './shard.ts';

/**
 * Puts blocks together again. A shard is not authenticated, the packet that comes of it is: a wrong shard costs the packet of the block that it names,
 * and memory is bounded whatever arrives, at `MAX_OPEN` packets for each connection.
 *
 *     first shard ──▶ open ── all shards ──▶ done ──▶ the packet
 *                      └── MAX_OPEN others opened since ──▶ given up
 */
export class Reassembly {
  readonly #pool: BlockPool;
  readonly #sink: (packet: Uint8Array) => void;
  /** By block id, oldest first. */
  readonly #open = new Map<number, OpenBlock>();
  /** Block ids, plus one, that were done of late: what still arrives for them is a duplicate. */
  readonly #done = new Uint32Array(DONE_REMEMBERED);
  #completed = 0;
  #givenUp = 0;
  #refused = 0;

  /** `sink` takes each packet; the view is valid during the call only. */
  constructor(pool: BlockPool, sink: (packet: Uint8Array) => void) {
    this.#pool = pool;
    this.#sink = sink;
  }

  /** Blocks whose packet was whole, blocks given up, and shards that were no shards. */
  get counts(): { completed: number; givenUp: number; refused: number } {
    return { completed: this.#completed, givenUp: this.#givenUp, refused: this.#refused };
  }

  /** Takes the shard in `bytes[offset … offset + length)`. */
  handleShard(bytes: Uint8Array, offset: number, length: number): void {
    const size = length - SHARD_HEADER;
    if (size <= 0 || bytes[offset] !== SHARD_TYPE) return this.#refuse();
    const rest = offset + 1 + CONNECTION_ID;
    const count = bytes[rest]!;
    const index = bytes[rest + 1]!;
    const total = (bytes[rest + 2]! << 8) | bytes[rest + 3]!;
    if (count < 2 || count > MAX_SHARDS || index >= count) return this.#refuse();
    const share = shareOf(count, index, total, size);
    if (share < 0) return this.#refuse();
    const blockId = (bytes[rest + 4]! << 16) | (bytes[rest + 5]! << 8) | bytes[rest + 6]!;
    if (this.#done[blockId % DONE_REMEMBERED] === blockId + 1) return;
    const block = this.#open.get(blockId) ?? this.#begin(blockId, count, total, share);
    if (block.count !== count || block.total !== total || block.share !== share) return this.#refuse();
    const bit = 1 << index;
    if ((block.have & bit) !== 0) return;
    block.have |= bit;
    block.bytes.set(bytes.subarray(offset + SHARD_HEADER, offset + length), index * share);
    if (block.have === (1 << count) - 1) this.#complete(blockId, block);
  }

  /** Gives the memory back; the connection has ended. */
  close(): void {
    for (const block of this.#open.values()) this.#pool.give(block.bytes);
    this.#open.clear();
  }

  #begin(blockId: number, count: number, total: number, share: number): OpenBlock {
    if (this.#open.size >= MAX_OPEN) {
      const [oldest] = this.#open.keys();
      this.#pool.give(this.#open.get(oldest!)!.bytes);
      this.#open.delete(oldest!);
      this.#givenUp++;
    }
    const block = { count, total, share, have: 0, bytes: this.#pool.take() };
    this.#open.set(blockId, block);
    return block;
  }

  #complete(blockId: number, block: OpenBlock): void {
    this.#open.delete(blockId);
    this.#done[blockId % DONE_REMEMBERED] = blockId + 1;
    this.#completed++;
    this.#sink(block.bytes.subarray(0, block.total));
    this.#pool.give(block.bytes);
  }

  #refuse(): void {
    this.#refused++;
  }
}

/** Buffers for blocks under way, shared by all connections of a thread: in order and without loss, one is all that they need. */
export class BlockPool {
  readonly #free: Uint8Array[] = [];

  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(MAX_PACKET);
  }

  give(bytes: Uint8Array): void {
    if (this.#free.length < MAX_FREE) this.#free.push(bytes);
  }
}

interface OpenBlock {
  readonly count: number;
  readonly total: number;
  /** Bytes in each shard but the last. */
  readonly share: number;
  readonly bytes: Uint8Array;
  /** A bit for each shard that is there. */
  have: number;
}

/**
 * What each shard but the last carries when this one, of `size` bytes, belongs to a packet of `total` bytes; -1 when the numbers do not fit each other. The
 * last carries what remains: at least one byte, and no more than the others.
 */
function shareOf(count: number, index: number, total: number, size: number): number {
  if (total > MAX_PACKET) return -1;
  const others = count - 1;
  if (index < others) return size * others < total && total <= size * count ? size : -1;
  const share = (total - size) / others;
  return Number.isInteger(share) && size <= share ? share : -1;
}

/** Bytes: larger than any packet that quiche makes. */
export const MAX_PACKET = 16_384;
/** Blocks of one connection that may be incomplete: with 16 KB each 1 MB, and 20 ms of reordering at 50 MB/s. */
const MAX_OPEN = 64;
const MAX_FREE = 64;
/** A power of two, and more than can be on their way twice. */
const DONE_REMEMBERED = 1024;
