import { CONNECTION_ID } from '../connection-id.ts';
import { ParityDecoder } from '../reed-solomon/decoder.ts';
import { MAX_PARITY, MAX_SHARD } from '../reed-solomon/sizes.ts';
import { threadKernel } from '../reed-solomon/thread-kernel.ts';
import { MAX_SHARDS, SHARD_HEADER } from '../shard.ts';
import { type Arrivals, MAX_AHEAD } from './arrivals.ts';
import { INNER_HEADER, innerOf, PARITY_HEADER, readParityHeader, restoreShard } from './parity-shard.ts';
import { expand } from './serial.ts';

/**
 * Brings lost shards back by parity. For that it keeps the last `KEPT` shards that came, from the first parity shard on and until there have been none for
 * long, and up to `MAX_WAITING` parity shards whose groups lack more than they can make up for: 255 KB at most, whatever arrives.
 *
 *     shard ──▶ kept, and arrivals ──┐
 *     parity shard ──▶ its group ────┴─ as many as are missing ──▶ the missing shards ──▶ arrivals
 *
 * A wrong one spoils the packets of those shards that it brings back, and no others; who is not the peer cannot make any (parity-shard.ts).
 */
export class ParityReceiver {
  readonly #arrivals: Arrivals;
  /** Inner forms of shards, each in the place that its number has in the ring; null while there is no parity. */
  #kept: Uint8Array | null = null;
  readonly #numbers = new Float64Array(KEPT).fill(NONE);
  readonly #sizes = new Uint16Array(KEPT);
  /** Those whose missing shards are still to come or to be restored, oldest first. */
  readonly #groups = new Map<number, Group>();
  #waiting = 0;
  #sinceParity = 0;
  #restored = 0;
  #bursts = 0;

  constructor(arrivals: Arrivals) {
    this.#arrivals = arrivals;
  }

  /** Shards restored, and how many runs of consecutive numbers they were. */
  get counts(): { restored: number; bursts: number } {
    return { restored: this.#restored, bursts: this.#bursts };
  }

  /** Bytes that are kept. */
  get memory(): number {
    return (this.#kept?.length ?? 0) + this.#waiting * MAX_SHARD;
  }

  /**
   * Keeps the shard in `bytes[offset … offset + length)`, before `arrivals` hands it on: whoever takes a packet decrypts it where it is. Returns its number for
   * `handleKept`, or -1 when nothing is kept of it.
   */
  keep(bytes: Uint8Array, offset: number, length: number): number {
    if (this.#kept === null) return NONE;
    if (++this.#sinceParity > PATIENCE) {
      this.close();
      return NONE;
    }
    return this.#keep(this.#kept, bytes, offset, length);
  }

  /** `arrivals` knows of this shard as well, at `now`. Returns whether that restored others. */
  handleKept(number: number, now: number): boolean {
    if (number < 0 || this.#groups.size === 0) return false;
    let isNew = false;
    for (const group of this.#groups.values()) {
      if (number >= group.first && number < group.first + group.k && this.#tryGroup(group, now)) isNew = true;
    }
    return isNew;
  }

  /** The parity shard in `bytes[offset … offset + length)` has come at `now`. Returns whether that restored others. */
  handleParity(bytes: Uint8Array, offset: number, length: number, now: number): boolean {
    const { next } = this.#arrivals;
    const header = readParityHeader(bytes, offset, length, next);
    const size = length - PARITY_HEADER;
    if (header === null || size > MAX_SHARD || header.k > KEPT || header.first > next + MAX_AHEAD) return false;
    this.#kept ??= new Uint8Array(KEPT * MAX_SHARD);
    this.#sinceParity = 0;
    if (this.#isComplete(header.first, header.k)) return false;
    const key = header.first * 128 + header.k - 1;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { key, first: header.first, k: header.k, parity: [], have: 0 };
      this.#groups.set(key, group);
    }
    while (group.parity.length <= header.j) group.parity.push(null);
    if (group.parity[header.j] !== null) return false;
    group.parity[header.j] = bytes.slice(offset + PARITY_HEADER, offset + length);
    group.have++;
    this.#waiting++;
    const isNew = this.#tryGroup(group, now);
    this.#dropOldest();
    return isNew;
  }

  /** Gives the memory back. */
  close(): void {
    this.#kept = null;
    this.#numbers.fill(NONE);
    this.#groups.clear();
    this.#waiting = 0;
  }

  /** Returns the shard's number, or -1 for what is none. */
  #keep(kept: Uint8Array, bytes: Uint8Array, offset: number, length: number): number {
    const at = offset + 1 + CONNECTION_ID;
    if (length <= SHARD_HEADER || length - SHARD_HEADER + INNER_HEADER > MAX_SHARD) return NONE;
    if (bytes[at]! < 1 || bytes[at]! > MAX_SHARDS || bytes[at + 1]! >= bytes[at]!) return NONE;
    const first = expand((bytes[at + 4]! << 16) | (bytes[at + 5]! << 8) | bytes[at + 6]!, this.#arrivals.next);
    const number = first + bytes[at + 1]!;
    if (first < 0) return NONE;
    const slot = number % KEPT;
    if (this.#numbers[slot] === number) return number;
    this.#numbers[slot] = number;
    this.#sizes[slot] = innerOf(bytes, offset, length, kept.subarray(slot * MAX_SHARD));
    return number;
  }

  #isComplete(first: number, k: number): boolean {
    for (let number = first; number < first + k; number++) if (!this.#arrivals.has(number)) return false;
    return true;
  }

  /** Restores what the group lacks, if that can be done now, and forgets the group when it is of no more use. */
  #tryGroup(group: Group, now: number): boolean {
    const { first, k, parity } = group;
    if (this.#isComplete(first, k)) {
      this.#forget(group);
      return false;
    }
    const kept = this.#kept!;
    const data: (Uint8Array | null)[] = [];
    const lost: number[] = [];
    for (let number = first; number < first + k; number++) {
      const slot = number % KEPT;
      const has = this.#numbers[slot] === number;
      data.push(has ? kept.subarray(slot * MAX_SHARD, slot * MAX_SHARD + this.#sizes[slot]!) : null);
      if (!has) lost.push(number);
    }
    if (lost.length > group.have) return false;
    this.#forget(group);
    decoder ??= new ParityDecoder(threadKernel());
    if (!decoder.reconstruct(data, parity, TARGETS)) return false;
    const length = parity.find((one) => one !== null)!.length;
    return this.#hand(lost, length, now);
  }

  #hand(lost: readonly number[], length: number, now: number): boolean {
    let last = -2;
    for (const [i, number] of lost.entries()) {
      if (this.#arrivals.has(number)) continue;
      const size = restoreShard(TARGETS[i]!.subarray(0, length), number, DATAGRAM);
      if (size === 0) continue;
      this.#arrivals.handleShard(DATAGRAM, 0, size, now, true);
      this.#restored++;
      if (number !== last + 1) this.#bursts++;
      last = number;
    }
    return last >= 0;
  }

  #forget(group: Group): void {
    this.#groups.delete(group.key);
    this.#waiting -= group.have;
  }

  #dropOldest(): void {
    for (const group of this.#groups.values()) {
      if (this.#waiting <= MAX_WAITING) return;
      this.#forget(group);
    }
  }
}

interface Group {
  readonly key: number;
  readonly first: number;
  readonly k: number;
  /** By their number, null where one has not come. */
  readonly parity: (Uint8Array | null)[];
  have: number;
}

let decoder: ParityDecoder | null = null;
/** Where what was lost is written, before it is handed on at once. */
const TARGETS = Array.from({ length: MAX_PARITY }, () => new Uint8Array(MAX_SHARD));
const DATAGRAM = new Uint8Array(SHARD_HEADER + MAX_SHARD);
const NONE = -1;
/** Shards: a group of the largest size, and what may overtake its parity. */
const KEPT = 128;
const MAX_WAITING = 42;
/** Shards without parity after which the memory is given back. */
const PATIENCE = 4_096;
