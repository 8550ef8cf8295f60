import { TableKernel } from './table-kernel.ts';
import { createWasmKernel } from './wasm-kernel.ts';

/**
 * Where parity is computed; one for each thread. A kernel lends rows of bytes, all zero at first, to which multiples of shards are added.
 */
export interface Kernel {
  readonly name: 'wasm' | 'table';
  /** `rows` (at most 32) rows of zeros, to be given back with `release`. */
  acquire(rows: number): Accumulator;
}

export interface Accumulator {
  /** Adds `coefficients[j]` × `source` to row j, for each row. `source` has at most `MAX_SHARD` bytes, `coefficients` has `MAX_PARITY` numbers. */
  add(source: Uint8Array, coefficients: Uint8Array): void;
  /** The first `length` bytes of row `j`: a view, valid until the kernel is used for anything else. */
  row(j: number, length: number): Uint8Array;
  /** Gives the rows back; the accumulator must not be used any more. */
  release(): void;
}

/** WebAssembly where it can be had with SIMD, otherwise tables (docs/PERFORMANCE.md, "Parity", has both speeds). */
export function createKernel(): Kernel {
  return createWasmKernel() ?? new TableKernel();
}
