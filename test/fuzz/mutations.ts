import { integerBetween, randomBytes } from '../support/random.ts';

/** One to six changes to `bytes`: bits and bytes changed, parts taken out, put in, repeated, or cut off. At most `limit` bytes come of it. */
export function mutate(random: () => number, bytes: Uint8Array, limit = 65_507): Uint8Array {
  let mutant: Uint8Array = Uint8Array.from(bytes);
  for (let changes = integerBetween(random, 1, 6); changes > 0; changes--) mutant = change(random, mutant);
  return mutant.subarray(0, limit);
}

/** The same where lengths stay what they are, so that what stands behind a header still stands there; only the first `within` bytes change. */
export function damage(random: () => number, bytes: Uint8Array, within = bytes.length): Uint8Array {
  const mutant = Uint8Array.from(bytes);
  const end = Math.min(within, mutant.length);
  for (let changes = integerBetween(random, 1, 6); changes > 0 && end > 0; changes--) {
    const at = integerBetween(random, 0, end - 1);
    mutant[at] = random() < 0.5 ? mutant[at]! ^ (1 << integerBetween(random, 0, 7)) : interesting(random);
  }
  return mutant;
}

export function oneOf<T>(random: () => number, choices: readonly T[]): T {
  return choices[integerBetween(random, 0, choices.length - 1)]!;
}

/** Changes `bytes`, or returns others in their place. */
function change(random: () => number, bytes: Uint8Array): Uint8Array {
  const at = integerBetween(random, 0, bytes.length);
  const length = Math.min(integerBetween(random, 1, random() < 0.9 ? 4 : 64), bytes.length - at);
  const [front, part, rest] = [bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at + length)];
  switch (integerBetween(random, 0, 5)) {
    case 0:
      part.set(part.map(() => interesting(random)));
      return bytes;
    case 1:
      if (length > 0) part[0]! ^= 1 << integerBetween(random, 0, 7);
      return bytes;
    case 2:
      return joined(front, rest);
    case 3:
      return joined(front, randomBytes(random, integerBetween(random, 1, 8)), part, rest);
    case 4:
      return joined(front, part, part, rest);
    default:
      return random() < 0.3 ? front : bytes;
  }
}

function joined(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Ends of numbers, forms of varints, flags, or anything. */
function interesting(random: () => number): number {
  return oneOf(random, INTERESTING) ?? integerBetween(random, 0, 255);
}

const INTERESTING = [0, 1, 0x0f, 0x10, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff, undefined, undefined, undefined];
