import { test } from 'tap';
import { multiply } from '../../../src/protocol/reed-solomon/field.ts';
import { COLUMNS, invert } from '../../../src/protocol/reed-solomon/matrix.ts';
import { MAX_DATA, MAX_PARITY } from '../../../src/protocol/reed-solomon/sizes.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';

test('the first parity shard is the XOR of the data', async (t) => {
  t.equal(COLUMNS.length, MAX_DATA);
  t.ok(COLUMNS.every((column) => column.length === MAX_PARITY && column[0] === 1));
});

test('two parity shards tell any two data shards', async (t) => {
  let singular = 0;
  for (const [i, column] of COLUMNS.entries()) {
    for (const other of COLUMNS.slice(i + 1)) {
      for (let j = 0; j < MAX_PARITY; j++) {
        for (let k = j + 1; k < MAX_PARITY; k++) {
          if (multiply(column[j]!, other[k]!) === multiply(column[k]!, other[j]!)) singular++;
        }
      }
    }
  }
  t.equal(singular, 0);
});

test('square parts of any size, times what they are inverted to, are the unit matrix', async (t) => {
  const random = seededRandom(1);
  for (let n = 1; n <= MAX_PARITY; n++) {
    const columns = choose(random, MAX_DATA, n);
    const rows = choose(random, MAX_PARITY, n);
    const part = Uint8Array.from(rows.flatMap((j) => columns.map((i) => COLUMNS[i]![j]!)));
    const inverted = new Uint8Array(n * n);
    invert(part.slice(), inverted, n);
    t.same(product(part, inverted, n), unit(n), `${n} × ${n}`);
  }
});

function choose(random: () => number, from: number, n: number): number[] {
  const all = Array.from({ length: from }, (_, i) => i);
  return Array.from({ length: n }, () => all.splice(integerBetween(random, 0, all.length - 1), 1)[0]!);
}

function product(a: Uint8Array, b: Uint8Array, n: number): number[][] {
  const sum = (row: number, column: number) =>
    a.subarray(row * n, row * n + n).reduce((s, x, i) => s ^ multiply(x, b[i * n + column]!), 0);
  return unit(n).map((line, row) => line.map((_, column) => sum(row, column)));
}

function unit(n: number): number[][] {
  return Array.from({ length: n }, (_, row) => Array.from({ length: n }, (__, column) => (row === column ? 1 : 0)));
}
