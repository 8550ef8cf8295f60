import { addition, additionName, ROWS_PER_PASS, TABLES, TABLE_SHIFT } from './addition.ts';
import { assemble } from './assembler.ts';
import { multiply } from './field.ts';
import type { Accumulator, Kernel } from './kernel.ts';
import { MAX_PARITY, ROW } from './sizes.ts';

/** Null where Node runs without WebAssembly (`--jitless`) or the processor has no vectors. Takes some milliseconds. */
export function createWasmKernel(): Kernel | null {
  if (typeof WebAssembly === 'undefined') return null;
  const module = assemble(ROW_COUNTS.flatMap((rows) => [addition(rows, false), addition(rows, true)]));
  return WebAssembly.validate(module) ? new WasmKernel(module) : null;
}

/**
 * Parity in WebAssembly with SIMD. Its memory, which grows with the rows that are lent at the same time:
 *
 *     0        8192      9712
 *     +--------+---------+-------+-------+----
 *     | tables | scratch | row 0 | row 1 | …
 *     +--------+---------+-------+-------+----
 */
class WasmKernel implements Kernel {
  readonly name = 'wasm';
  readonly #memory = new WebAssembly.Memory({ initial: 2 });
  #bytes = new Uint8Array(this.#memory.buffer);
  /** A shard is copied here first, because only this memory can be computed with. */
  #scratch = this.#bytes.subarray(SCRATCH, ROWS);
  /** Views of rows by their number, so that none is made for each shard. Those of a memory that has grown have no length. */
  readonly #views: (Uint8Array | undefined)[] = [];
  /** What was given back, by the logarithm of its room: there is room for a power of two of rows, so that what one group had fits another. */
  readonly #free: WasmAccumulator[][] = Array.from({ length: roomOf(MAX_PARITY) + 1 }, () => []);
  #rows = 0;
  readonly #add: Addition[];
  readonly #addPlainFirst: Addition[];

  constructor(module: Uint8Array<ArrayBuffer>) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), { env: { memory: this.#memory } });
    this.#add = ROW_COUNTS.map((rows) => exports[additionName(rows, false)] as Addition);
    this.#addPlainFirst = ROW_COUNTS.map((rows) => exports[additionName(rows, true)] as Addition);
    writeTables(this.#bytes);
  }

  acquire(rows: number): Accumulator {
    const room = roomOf(rows);
    const accumulator = this.#free[room]!.pop() ?? new WasmAccumulator(this, this.#extend(1 << room));
    const start = ROWS + accumulator.first * ROW;
    this.#bytes.fill(0, start, start + rows * ROW);
    accumulator.rows = rows;
    return accumulator;
  }

  add(first: number, rows: number, source: Uint8Array, coefficients: Uint8Array): void {
    this.#scratch.set(source);
    for (let row = 0; row < rows; row += ROWS_PER_PASS) {
      const functions = coefficients[row] === 1 ? this.#addPlainFirst : this.#add;
      const add = functions[Math.min(rows - row, ROWS_PER_PASS) - 1]!;
      add(SCRATCH, source.length, pack(coefficients, row), ROWS + (first + row) * ROW);
    }
  }

  row(number: number, length: number): Uint8Array {
    const known = this.#views[number];
    if (known?.length === length) return known;
    const start = ROWS + number * ROW;
    return (this.#views[number] = this.#bytes.subarray(start, start + length));
  }

  release(accumulator: WasmAccumulator): void {
    this.#free[roomOf(accumulator.rows)]!.push(accumulator);
  }

  #extend(rows: number): number {
    const first = this.#rows;
    this.#rows += rows;
    const missing = ROWS + this.#rows * ROW - this.#bytes.length;
    if (missing > 0) this.#grow(Math.max(Math.ceil(missing / PAGE), GROWTH));
    return first;
  }

  #grow(pages: number): void {
    this.#memory.grow(pages);
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#scratch = this.#bytes.subarray(SCRATCH, ROWS);
  }
}

class WasmAccumulator implements Accumulator {
  readonly #kernel: WasmKernel;
  readonly first: number;
  rows = 0;

  constructor(kernel: WasmKernel, first: number) {
    this.#kernel = kernel;
    this.first = first;
  }

  add(source: Uint8Array, coefficients: Uint8Array): void {
    this.#kernel.add(this.first, this.rows, source, coefficients);
  }

  row(j: number, length: number): Uint8Array {
    return this.#kernel.row(this.first + j, length);
  }

  release(): void {
    this.#kernel.release(this);
  }
}

type Addition = (source: number, length: number, coefficients: number, target: number) => void;

function roomOf(rows: number): number {
  return 32 - Math.clz32(rows - 1);
}

function pack(coefficients: Uint8Array, at: number): number {
  return coefficients[at]! | (coefficients[at + 1]! << 8) | (coefficients[at + 2]! << 16) | (coefficients[at + 3]! << 24);
}

function writeTables(memory: Uint8Array): void {
  for (let coefficient = 0; coefficient < 256; coefficient++) {
    const table = TABLES + (coefficient << TABLE_SHIFT);
    for (let half = 0; half < 16; half++) {
      memory[table + half] = multiply(coefficient, half);
      memory[table + 16 + half] = multiply(coefficient, half << 4);
    }
  }
}

const ROW_COUNTS = Array.from({ length: ROWS_PER_PASS }, (_, i) => i + 1);

const SCRATCH = TABLES + (256 << TABLE_SHIFT);
/** The function writes 16 bytes behind the shard. */
const ROWS = SCRATCH + ROW + 16;
const PAGE = 65_536;
/** Pages. */
const GROWTH = 4;

/** The part of the global that is used here, which neither ECMAScript's types nor Node's have. */
declare const WebAssembly: {
  validate(bytes: Uint8Array<ArrayBuffer>): boolean;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Memory: new (size: { initial: number }) => Memory;
  readonly Instance: new (module: object, imports: { env: { memory: Memory } }) => { exports: Readonly<Record<string, unknown>> };
};

interface Memory {
  readonly buffer: ArrayBuffer;
  /** By so many pages of 64 KiB; `buffer` is another one afterwards. */
  grow(pages: number): number;
}
