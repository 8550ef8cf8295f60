import { QtunnelError } from '../../errors.ts';
import type { Accumulator, Kernel } from './kernel.ts';
import { COLUMNS } from './matrix.ts';
import { MAX_DATA, MAX_PARITY, MAX_SHARD } from './sizes.ts';

/**
 * Makes the parity shards of a group while its data shards go out, none of which need be kept:
 *
 *     begin(p) ──▶ add(i, shard) for each data shard ──▶ parity(0) … parity(p − 1) ──▶ end()
 *
 * How many data shards a group has need not be known before; they can come in any order, each index once. They may differ in length: each counts as
 * padded with zeros to the longest, which is the length of every parity shard. A group for which fewer parity shards are sent than were begun is
 * a group with fewer, and the first parity shard, the XOR of the data, costs the least.
 */
export class ParityEncoder {
  readonly #kernel: Kernel;
  #rows: Accumulator | null = null;
  #parity = 0;
  #length = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Begins a group with up to `parity` (1 to 32) parity shards; one that was begun before is dropped. Throws `INTERNAL` for another number. */
  begin(parity: number): void {
    if (!isIndex(parity - 1, MAX_PARITY)) throw new QtunnelError('INTERNAL', `A group cannot have ${parity} parity shards.`);
    this.end();
    this.#rows = this.#kernel.acquire(parity);
    this.#parity = parity;
  }

  /** Adds data shard `index` (0 to 127) of 1 to 1500 bytes; `shard` is not kept. Throws `INTERNAL` for another index or size, or without `begin`. */
  add(index: number, shard: Uint8Array): void {
    if (!isIndex(index, MAX_DATA)) throw new QtunnelError('INTERNAL', `A group has no data shard ${index}.`);
    if (!isIndex(shard.length - 1, MAX_SHARD)) throw new QtunnelError('INTERNAL', `A shard cannot have ${shard.length} bytes.`);
    this.#group.add(shard, COLUMNS[index]!);
    if (shard.length > this.#length) this.#length = shard.length;
  }

  /** Bytes of each parity shard: as many as the longest data shard has, 0 before the first. */
  get length(): number {
    return this.#length;
  }

  /**
   * Parity shard `j` of the data shards added so far: a view, valid until any encoder or decoder of the kernel is used. Throws `INTERNAL` for one that
   * was not begun.
   */
  parity(j: number): Uint8Array {
    if (!isIndex(j, this.#parity)) throw new QtunnelError('INTERNAL', `The group has no parity shard ${j}.`);
    return this.#group.row(j, this.#length);
  }

  /** Gives the group's memory back, which must be done before an encoder is forgotten. */
  end(): void {
    this.#rows?.release();
    this.#rows = null;
    this.#parity = 0;
    this.#length = 0;
  }

  get #group(): Accumulator {
    if (this.#rows === null) throw new QtunnelError('INTERNAL', 'No group of shards was begun.');
    return this.#rows;
  }
}

function isIndex(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end;
}
