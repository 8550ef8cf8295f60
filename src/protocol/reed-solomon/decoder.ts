import { QtunnelError } from '../../errors.ts';
import { multiply } from './field.ts';
import type { Accumulator, Kernel } from './kernel.ts';
import { COLUMNS, invert } from './matrix.ts';
import { MAX_DATA, MAX_PARITY, MAX_SHARD } from './sizes.ts';

type Shards = readonly (Uint8Array | null)[];

/** Gives the lost data shards of a group back. One for each thread is enough: nothing is kept between calls. */
export class ParityDecoder {
  readonly #kernel: Kernel;
  /** Of the data shards, which are lost, and of the parity shards, which stand in for them. */
  readonly #lost = new Uint8Array(MAX_PARITY);
  readonly #used = new Uint8Array(MAX_PARITY);
  readonly #matrix = new Uint8Array(MAX_PARITY * MAX_PARITY);
  readonly #inverse = new Uint8Array(MAX_PARITY * MAX_PARITY);
  readonly #coefficients = new Uint8Array(MAX_PARITY);

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /**
   * Writes the data shards that are null in `data` (all of the group's, at most 128) to the beginning of `targets`, the first of them to `targets[0]` and so
   * on, each with the length of a parity shard: what was shorter ends in zeros. `parity[j]` is parity shard j, null or beyond the end if it did not come.
   *
   * False if that cannot be done, and then nothing is written: fewer parity shards than are needed, or lengths that do not belong together (parity
   * shards differ, a data shard is longer, one is empty or longer than 1500). Wrong bytes are not noticed. Throws `INTERNAL` for targets too few or too short.
   */
  reconstruct(data: Shards, parity: Shards, targets: readonly Uint8Array[]): boolean {
    const lost = this.#findLost(data);
    if (lost === 0) return true;
    if (lost < 0 || !this.#choose(parity, lost)) return false;
    const length = parity[this.#used[0]!]!.length;
    if (!fit(data, length)) return false;
    refuseTargets(targets, lost, length);
    this.#invert(lost);
    const rows = this.#kernel.acquire(lost);
    try {
      this.#solve(rows, data, parity, lost);
      for (let n = 0; n < lost; n++) targets[n]!.set(rows.row(n, length));
    } finally {
      rows.release();
    }
    return true;
  }

  /** How many are lost, or −1 if no parity can help. */
  #findLost(data: Shards): number {
    if (data.length > MAX_DATA) return -1;
    let lost = 0;
    for (let i = 0; i < data.length; i++) {
      if (data[i] !== null) continue;
      if (lost === MAX_PARITY) return -1;
      this.#lost[lost++] = i;
    }
    return lost;
  }

  /** Takes the first `lost` parity shards that came. */
  #choose(parity: Shards, lost: number): boolean {
    let used = 0;
    let length = 0;
    for (let j = 0; j < parity.length && j < MAX_PARITY && used < lost; j++) {
      const shard = parity[j];
      if (shard === null || shard === undefined) continue;
      if (used > 0 && shard.length !== length) return false;
      length = shard.length;
      this.#used[used++] = j;
    }
    return used === lost && length > 0 && length <= MAX_SHARD;
  }

  /** Parity is matrix × lost shards + what the others add to it, so lost shards are inverse × (parity + what the others add to it). */
  #invert(lost: number): void {
    for (let row = 0; row < lost; row++) {
      for (let n = 0; n < lost; n++) this.#matrix[row * lost + n] = COLUMNS[this.#lost[n]!]![this.#used[row]!]!;
    }
    invert(this.#matrix, this.#inverse, lost);
  }

  #solve(rows: Accumulator, data: Shards, parity: Shards, lost: number): void {
    for (let i = 0; i < data.length; i++) {
      const shard = data[i];
      if (shard) rows.add(shard, this.#coefficientsOfData(i, lost));
    }
    for (let row = 0; row < lost; row++) rows.add(parity[this.#used[row]!]!, this.#coefficientsOfParity(row, lost));
  }

  #coefficientsOfData(i: number, lost: number): Uint8Array {
    const column = COLUMNS[i]!;
    for (let n = 0; n < lost; n++) {
      let sum = 0;
      for (let row = 0; row < lost; row++) sum ^= multiply(this.#inverse[n * lost + row]!, column[this.#used[row]!]!);
      this.#coefficients[n] = sum;
    }
    return this.#coefficients;
  }

  #coefficientsOfParity(row: number, lost: number): Uint8Array {
    for (let n = 0; n < lost; n++) this.#coefficients[n] = this.#inverse[n * lost + row]!;
    return this.#coefficients;
  }
}

function fit(data: Shards, length: number): boolean {
  for (const shard of data) if (shard !== null && (shard.length === 0 || shard.length > length)) return false;
  return true;
}

function refuseTargets(targets: readonly Uint8Array[], lost: number, length: number): void {
  for (let n = 0; n < lost; n++) {
    const target = targets[n];
    if (target === undefined || target.length < length)
      throw new QtunnelError('INTERNAL', 'There is no room for a shard that was lost.');
  }
}
