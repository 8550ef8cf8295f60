import { multiply } from './field.ts';
import type { Accumulator, Kernel } from './kernel.ts';
import { ROW } from './sizes.ts';

/** Parity without WebAssembly: a table of products for each coefficient, four bytes at a time. */
export class TableKernel implements Kernel {
  readonly name = 'table';
  readonly #scratch = new Uint32Array(ROW / 4);
  readonly #scratchBytes = new Uint8Array(this.#scratch.buffer);
  readonly #products = Array.from({ length: 256 }, (_, a) => Uint8Array.from({ length: 256 }, (__, b) => multiply(a, b)));

  acquire(rows: number): Accumulator {
    return new TableAccumulator(this, rows);
  }

  add(rows: readonly Uint32Array[], source: Uint8Array, coefficients: Uint8Array): void {
    this.#scratchBytes.set(source);
    const words = (source.length + 3) >>> 2;
    this.#scratchBytes.fill(0, source.length, 4 * words);
    for (let j = 0; j < rows.length; j++) {
      const coefficient = coefficients[j]!;
      if (coefficient === 1) addPlain(rows[j]!, this.#scratch, words);
      else addProducts(rows[j]!, this.#scratch, words, this.#products[coefficient]!);
    }
  }
}

class TableAccumulator implements Accumulator {
  readonly #kernel: TableKernel;
  readonly #rows: Uint32Array<ArrayBuffer>[];

  constructor(kernel: TableKernel, rows: number) {
    this.#kernel = kernel;
    this.#rows = Array.from({ length: rows }, () => new Uint32Array(ROW / 4));
  }

  add(source: Uint8Array, coefficients: Uint8Array): void {
    this.#kernel.add(this.#rows, source, coefficients);
  }

  row(j: number, length: number): Uint8Array {
    return new Uint8Array(this.#rows[j]!.buffer, 0, length);
  }

  release(): void {
    this.#rows.length = 0;
  }
}

function addPlain(row: Uint32Array, source: Uint32Array, words: number): void {
  for (let i = 0; i < words; i++) row[i]! ^= source[i]!;
}

/** The order of the bytes in a word does not matter: each is replaced where it stands. */
function addProducts(row: Uint32Array, source: Uint32Array, words: number, products: Uint8Array): void {
  for (let i = 0; i < words; i++) {
    const word = source[i]!;
    const low = products[word & 0xff]! | (products[(word >>> 8) & 0xff]! << 8);
    row[i]! ^= low | (products[(word >>> 16) & 0xff]! << 16) | (products[word >>> 24]! << 24);
  }
}
