import { CONNECTION_ID, SHARD_TYPE } from '../connection-id.ts';
import { MAX_SHARDS, SHARD_HEADER } from '../shard.ts';
import { type BlockPool, MAX_PACKET } from './block-pool.ts';
import { MAX_RANGES } from './report.ts';
import { expand } from './serial.ts';

/**
 * Puts blocks together again and hands their packets on in the order in which they were sent, so that QUIC above sees a path that loses and reorders
 * nothing: what is lost below it is sent again below it (flight.ts), and its own congestion control has no reason to slow down.
 *
 *     shard ──▶ its block ── whole ──▶ held until all before it were handed on ──▶ the packet
 *
 * A shard's payload is not authenticated (shard-tag.ts), the packet that comes of it is: a wrong one costs the packet of the block that it names. Memory is bounded by
 * `MAX_AHEAD` shards whatever arrives.
 */
export class Arrivals {
  readonly #pool: BlockPool;
  readonly #sink: (packet: Uint8Array) => void;
  /** Blocks that are not handed on yet, by the number of their first shard. */
  readonly #blocks = new Map<number, Block>();
  /** A mark for each shard from `#next` on that has come. */
  readonly #marks = new Uint8Array(MAX_AHEAD);
  /** The first shard that was not handed on. */
  #next = 0;
  /** The first shard that has not come, as of the last report. */
  #cumulative = 0;
  /** One beyond the highest shard that has come. */
  #end = 0;
  /** Bytes of the packets of all blocks that are not handed on yet. */
  #held = 0;
  #latest = 0;
  #latestAt = 0;
  #bytes = 0;
  #completed = 0;
  #givenUp = 0;
  #refused = 0;

  /** `sink` takes each packet; the view is valid during the call only, and may be written to: what came is changed then. */
  constructor(pool: BlockPool, sink: (packet: Uint8Array) => void) {
    this.#pool = pool;
    this.#sink = sink;
  }

  /** Packets handed on, blocks given up, and shards that were no shards. */
  get counts(): { completed: number; givenUp: number; refused: number } {
    return { completed: this.#completed, givenUp: this.#givenUp, refused: this.#refused };
  }

  /** The first shard that was not handed on. */
  get next(): number {
    return this.#next;
  }

  /** Whether a shard is missing that a later one has overtaken. */
  get hasGap(): boolean {
    return this.#end > this.#next && this.#marks[this.#next % MAX_AHEAD] === 0;
  }

  get latest(): { shard: number; at: number } {
    return { shard: this.#latest, at: this.#latestAt };
  }

  /** Bytes of all shards that have come, each counted once. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the shard has come, or need not come any more. */
  has(shard: number): boolean {
    return shard < this.#next || (shard < this.#end && this.#marks[shard % MAX_AHEAD] !== 0);
  }

  /** Takes the shard in `bytes[offset … offset + length)`, which came at `now`, or was restored then and says nothing of how long the way takes. */
  handleShard(bytes: Uint8Array, offset: number, length: number, now: number, isRestored = false): void {
    const size = length - SHARD_HEADER;
    if (size <= 0 || bytes[offset] !== SHARD_TYPE) return this.#refuse();
    const rest = offset + 1 + CONNECTION_ID;
    const count = bytes[rest]!;
    const index = bytes[rest + 1]!;
    const total = (bytes[rest + 2]! << 8) | bytes[rest + 3]!;
    if (count < 1 || count > MAX_SHARDS || index >= count) return this.#refuse();
    const share = shareOf(count, index, total, size);
    if (share < 0) return this.#refuse();
    const first = expand((bytes[rest + 4]! << 16) | (bytes[rest + 5]! << 8) | bytes[rest + 6]!, this.#next);
    if (first < this.#next) return this.#handleOverlap(first + index, length, now);
    if (first + count > this.#next + MAX_AHEAD) return this.#refuse();
    const block = this.#blockFor(first, count, total, share);
    if (block === null) return this.#refuse();
    const bit = 1 << index;
    if ((block.have & bit) !== 0) return;
    block.have |= bit;
    this.#mark(first + index, length, isRestored ? null : now);
    const whole = isWhole(block);
    if (whole && count === 1 && first === this.#next) {
      // Nothing to put together and nothing to wait for.
      this.#release(first, block);
      this.#handOn(count, bytes.subarray(offset + SHARD_HEADER, offset + length));
      return this.#handOnHeld();
    }
    block.bytes ??= this.#pool.take(total);
    block.bytes.set(bytes.subarray(offset + SHARD_HEADER, offset + length), index * share);
    if (whole && first === this.#next) this.#handOnHeld();
  }

  /** The sender will not send shards below this one again: what is whole of them is handed on, the rest given up. */
  handleForward(forward: number): void {
    if (forward > this.#next + MAX_AHEAD) return;
    while (this.#next < forward) {
      const block = this.#blocks.get(this.#next);
      if (block === undefined) this.#skip(1);
      else if (isWhole(block)) this.#handOnHeld();
      else if (this.#next + block.count > forward) return;
      else this.#giveUp(block);
    }
  }

  /** What to report: all below `cumulative` has come, and then pairs of how many are missing and how many have come. */
  account(): { cumulative: number; ranges: number[] } {
    this.#cumulative = this.#skipMarked(Math.max(this.#cumulative, this.#next));
    this.#giveUpImpossible();
    const ranges: number[] = [];
    let at = this.#cumulative;
    while (at < this.#end && ranges.length < 2 * MAX_RANGES) {
      const run = this.#skipUnmarked(at);
      const end = this.#skipMarked(run);
      ranges.push(run - at, end - run);
      at = end;
    }
    return { cumulative: this.#cumulative, ranges };
  }

  /** Gives the memory back; the connection has ended. */
  close(): void {
    for (const [first, block] of this.#blocks) this.#release(first, block);
  }

  /**
   * A shard whose block began below what was handed on: most often it has come twice. If it has not, a forged block lies across its own. It is of no use any
   * more, but it has come: else the sender would send it again for ever.
   */
  #handleOverlap(shard: number, length: number, now: number): void {
    if (shard < this.#next || this.#marks[shard % MAX_AHEAD] !== 0) return;
    this.#refuse();
    this.#mark(shard, length, now);
  }

  /** Null when there is no memory for another block. */
  #blockFor(first: number, count: number, total: number, share: number): Block | null {
    const known = this.#blocks.get(first);
    if (known !== undefined) {
      if (known.count === count && known.total === total && known.share === share) return known;
      // One of the two is wrong. The sender may send the right one again, but never the wrong one.
      this.#refuse();
      this.#release(first, known);
    }
    // The one that all others wait for is always taken.
    if (this.#held + total > MAX_HELD && first !== this.#next) return null;
    const block = { count, total, share, have: 0, bytes: null };
    this.#blocks.set(first, block);
    this.#held += total;
    return block;
  }

  /** `cameAt` is null for one that was restored. */
  #mark(shard: number, length: number, cameAt: number | null): void {
    if (cameAt !== null) {
      this.#latest = shard;
      this.#latestAt = cameAt;
    }
    if (shard >= this.#end) this.#end = shard + 1;
    if (this.#marks[shard % MAX_AHEAD] !== 0) return;
    this.#marks[shard % MAX_AHEAD] = 1;
    this.#bytes += length;
  }

  #handOnHeld(): void {
    for (;;) {
      const first = this.#next;
      const block = this.#blocks.get(first);
      if (block === undefined || !isWhole(block)) return;
      this.#blocks.delete(first);
      this.#held -= block.total;
      this.#handOn(block.count, block.bytes!.subarray(0, block.total));
      this.#pool.give(block.bytes!);
    }
  }

  #handOn(count: number, packet: Uint8Array): void {
    this.#skip(count);
    this.#completed++;
    this.#sink(packet);
  }

  /**
   * All shards of a block have come and it is not whole: some were wrong, and the sender thinks that it need not send the right ones again. QUIC will.
   */
  #giveUpImpossible(): void {
    for (;;) {
      const block = this.#blocks.get(this.#next);
      const count = block?.count ?? 1;
      if (this.#next + count > this.#cumulative) return;
      if (block === undefined) this.#skip(1);
      else if (isWhole(block)) this.#handOnHeld();
      else this.#giveUp(block);
    }
  }

  #giveUp(block: Block): void {
    this.#givenUp++;
    this.#release(this.#next, block);
    this.#skip(block.count);
  }

  #skip(count: number): void {
    for (let i = 0; i < count; i++) this.#marks[(this.#next + i) % MAX_AHEAD] = 0;
    if (this.#blocks.size > 0 && count > 1) this.#releaseOverlapping(count);
    this.#next += count;
    if (this.#end < this.#next) this.#end = this.#next;
  }

  /** Blocks that begin inside another can only be forged; nothing else would take them away. */
  #releaseOverlapping(count: number): void {
    for (let first = this.#next + 1; first < this.#next + count; first++) {
      const block = this.#blocks.get(first);
      if (block !== undefined) this.#release(first, block);
    }
  }

  #release(first: number, block: Block): void {
    if (block.bytes !== null) this.#pool.give(block.bytes);
    this.#blocks.delete(first);
    this.#held -= block.total;
  }

  #skipMarked(from: number): number {
    let at = from;
    while (at < this.#end && this.#marks[at % MAX_AHEAD] === 1) at++;
    return at;
  }

  #skipUnmarked(from: number): number {
    let at = from;
    while (at < this.#end && this.#marks[at % MAX_AHEAD] === 0) at++;
    return at;
  }

  #refuse(): void {
    this.#refused++;
  }
}

interface Block {
  readonly count: number;
  readonly total: number;
  /** Bytes in each shard but the last. */
  readonly share: number;
  /** A bit for each shard that is there. */
  have: number;
  /** Null until there is something to keep. */
  bytes: Uint8Array | null;
}

function isWhole(block: Block): boolean {
  return block.have === (1 << block.count) - 1;
}

/**
 * What each shard but the last carries when this one, of `size` bytes, belongs to a packet of `total` bytes; -1 when the numbers do not fit each other. The
 * last carries what remains: at least one byte, and no more than the others.
 */
function shareOf(count: number, index: number, total: number, size: number): number {
  if (total > MAX_PACKET) return -1;
  const others = count - 1;
  if (others === 0) return size === total ? size : -1;
  if (index < others) return size * others < total && total <= size * count ? size : -1;
  const share = (total - size) / others;
  return Number.isInteger(share) && size <= share ? share : -1;
}

/** Shards that may come before one that is missing: with 1350 bytes each 44 MB, more than any sender has under way (path-model.ts). A power of two. */
export const MAX_AHEAD = 32_768;
/** Bytes: more than any sender has under way, far less than so many blocks could be said to have. */
const MAX_HELD = 48 << 20;
