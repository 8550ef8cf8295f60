/**
 * GF(256): bytes, added by XOR, multiplied as polynomials modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11d), of which x is a primitive element.
 */
export function multiply(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : POWERS[LOGARITHMS[a]! + LOGARITHMS[b]!]!;
}

/** What gives 1 when multiplied with `a`, which is not 0. */
export function inverse(a: number): number {
  return POWERS[ORDER - LOGARITHMS[a]!]!;
}

const POLYNOMIAL = 0x11d;
const ORDER = 255;

/** Powers of x, twice round, so that two logarithms can be added without a division. */
const POWERS = new Uint8Array(2 * ORDER + 1);
const LOGARITHMS = new Uint8Array(256);

for (let power = 0, value = 1; power <= 2 * ORDER; power++) {
  POWERS[power] = value;
  if (power < ORDER) LOGARITHMS[value] = power;
  value <<= 1;
  if (value > 255) value ^= POLYNOMIAL;
}
