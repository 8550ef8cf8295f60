import { get, i32, i8x16, loopWhile, sequence, set, tee, v128, type WasmFunction } from './assembler.ts';
import { ROW } from './sizes.ts';

/**
 * The WebAssembly function that adds multiples of a shard to `rows` rows in one pass:
 *
 *     (source, length, coefficients, target) → row j += coefficient j × shard
 *
 * A product of a byte is the sum of the products of its halves, and a vector of 16 halves is looked up in a table of 16 at once (swizzle): Plank,
 * Greenan and Miller, "Screaming Fast Galois Field Arithmetic Using Intel SIMD Instructions", 2013. `coefficients` has that of row j in its byte j. With
 * `plainFirst` the first coefficient is taken to be one, which needs no tables. 16 bytes behind the shard are overwritten with zeros.
 */
export function addition(rows: number, plainFirst: boolean): WasmFunction {
  const multiplied = Array.from({ length: rows }, (_, j) => j).slice(plainFirst ? 1 : 0);
  const pass = sequence(
    sequence(get(SOURCE), v128.load(), set(DATA)),
    plainFirst ? addToRow(0, get(DATA)) : [],
    sequence(get(DATA), get(MASK), v128.and, set(LOW)),
    sequence(get(DATA), i32.const(4), i8x16.shiftRight, set(HIGH)),
    ...multiplied.map((j) => addToRow(j, product(j))),
    sequence(get(SOURCE), i32.const(VECTOR), i32.add, set(SOURCE)),
    sequence(get(TARGET), i32.const(VECTOR), i32.add, set(TARGET)),
  );
  return {
    name: additionName(rows, plainFirst),
    parameters: 4,
    vectors: 4 + 2 * rows,
    body: sequence(
      ...multiplied.map(loadTables),
      sequence(i32.const(0x0f), i8x16.splat, set(MASK)),
      sequence(get(SOURCE), get(LENGTH), i32.add, tee(END), i32.const(0), i8x16.splat, v128.store()),
      loopWhile(sequence(get(SOURCE), get(END), i32.lessThan), pass),
    ),
  };
}

export function additionName(rows: number, plainFirst: boolean): string {
  return plainFirst ? `addPlainFirst${rows}` : `add${rows}`;
}

/** As many as there are registers for: two tables a row. */
export const ROWS_PER_PASS = 4;

/** Where memory has the products of each coefficient: with 0 … 15, then with 16 × 0 … 15, one coefficient after the other. */
export const TABLES = 0;
export const TABLE_SHIFT = 5;

function loadTables(j: number): number[] {
  const coefficient = sequence(get(COEFFICIENTS), i32.const(8 * j), i32.shiftRight, i32.const(0xff), i32.and);
  const table = sequence(coefficient, i32.const(TABLE_SHIFT), i32.shiftLeft);
  return sequence(table, v128.load(TABLES), set(lowTable(j)), table, v128.load(TABLES + VECTOR), set(highTable(j)));
}

function product(j: number): number[] {
  return sequence(get(lowTable(j)), get(LOW), i8x16.swizzle, get(highTable(j)), get(HIGH), i8x16.swizzle, v128.xor);
}

function addToRow(j: number, value: readonly number[]): number[] {
  return sequence(get(TARGET), get(TARGET), v128.load(j * ROW), value, v128.xor, v128.store(j * ROW));
}

function lowTable(j: number): number {
  return FIRST_TABLE + 2 * j;
}

function highTable(j: number): number {
  return FIRST_TABLE + 2 * j + 1;
}

const VECTOR = 16;

const SOURCE = 0;
const LENGTH = 1;
const COEFFICIENTS = 2;
const TARGET = 3;
/** The length is not needed once the end is known. */
const END = LENGTH;
const DATA = 4;
const LOW = 5;
const HIGH = 6;
const MASK = 7;
const FIRST_TABLE = 8;
