import { test } from 'tap';
import { inverse, multiply } from '../../../src/protocol/reed-solomon/field.ts';

test('products are those of polynomials modulo 0x11d', async (t) => {
  let wrong = 0;
  for (let a = 0; a < 256; a++) for (let b = 0; b < 256; b++) if (multiply(a, b) !== longMultiplication(a, b)) wrong++;
  t.equal(wrong, 0);
});

test('known products of this field', async (t) => {
  t.equal(multiply(2, 0x80), 0x1d);
  t.equal(multiply(3, 4), 12);
  t.equal(multiply(7, 7), 21);
  t.equal(multiply(23, 45), 41);
});

test('every number but 0 times its inverse is 1', async (t) => {
  for (let a = 1; a < 256; a++) t.equal(multiply(a, inverse(a)), 1, `${a}`);
});

function longMultiplication(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) if ((b >> bit) & 1) product ^= a << bit;
  for (let bit = 14; bit >= 8; bit--) if ((product >> bit) & 1) product ^= 0x11d << (bit - 8);
  return product;
}
