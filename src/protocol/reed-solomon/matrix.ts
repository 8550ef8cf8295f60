import { inverse, multiply } from './field.ts';
import { MAX_DATA, MAX_PARITY } from './sizes.ts';

/**
 * `COLUMNS[i][j]` is what data shard i is multiplied with in parity shard j.
 *
 * A Cauchy matrix, 1 / (x_j + y_i) with all x and y different, each column divided by its first number: the first row is all ones, so the first parity
 * shard is plain XOR. In a Cauchy matrix every square part can be inverted, and multiplying a column by something other than 0 keeps that, so any k of
 * k + p shards give the data back (Roth and Seroussi 1985; normalised as in Plank and Xu 2006). A part of the table is such a matrix
 * too: k and p need not be known before the group ends.
 */
export const COLUMNS: readonly Uint8Array[] = Array.from({ length: MAX_DATA }, (_, i) => columnOf(i));

/**
 * Inverts the square matrix in the first `n` × `n` numbers of `matrix` (row after row, `n` numbers each) into `inverted`; `matrix` is used up. It must be a part of
 * `COLUMNS`: every square part of that can be inverted, so no number on the diagonal is 0 when its turn comes, and rows need not change places.
 */
export function invert(matrix: Uint8Array, inverted: Uint8Array, n: number): void {
  inverted.fill(0, 0, n * n);
  for (let i = 0; i < n; i++) inverted[i * n + i] = 1;
  for (let i = 0; i < n; i++) {
    const factor = inverse(matrix[i * n + i]!);
    scaleRow(matrix, n, i, factor);
    scaleRow(inverted, n, i, factor);
    for (let row = 0; row < n; row++) {
      if (row === i) continue;
      const times = matrix[row * n + i]!;
      addRow(matrix, n, row, i, times);
      addRow(inverted, n, row, i, times);
    }
  }
}

function columnOf(i: number): Uint8Array {
  return Uint8Array.from({ length: MAX_PARITY }, (_, j) => multiply(cauchy(j, i), inverse(cauchy(0, i))));
}

function cauchy(j: number, i: number): number {
  return inverse(j ^ (MAX_PARITY + i));
}

function scaleRow(matrix: Uint8Array, n: number, row: number, factor: number): void {
  for (let at = row * n; at < (row + 1) * n; at++) matrix[at] = multiply(matrix[at]!, factor);
}

function addRow(matrix: Uint8Array, n: number, row: number, other: number, times: number): void {
  for (let column = 0; column < n; column++) matrix[row * n + column]! ^= multiply(matrix[other * n + column]!, times);
}
