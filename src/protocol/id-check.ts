/**
 * 16 bits in a connection id that follow from the 8 bytes before them and a key (docs/PROTOCOL.md, "The check in an id"). They prove nothing to who has seen ids; but who has seen none
 * guesses them once in 65,536, and to look at them costs so little that the kernel can do it.
 *
 *      check = ((a · first word + b · second word + c) mod 2³²) >> 16
 */
export interface IdCheck {
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** Of at least 12 bytes that nobody else knows. */
export function idCheck(key: Uint8Array): IdCheck {
  const [a, b, c] = [0, 4, 8].map((at) => wordAt(key, at)) as [number, number, number];
  return { a, b, c };
}

/** What belongs behind the first 8 bytes of `id`. */
function checkOf({ a, b, c }: IdCheck, id: Uint8Array): number {
  return ((Math.imul(a, wordAt(id, 0)) + Math.imul(b, wordAt(id, 4)) + c) | 0) >>> 16;
}

/** Whether the id has what belongs there. */
export function hasCheck(check: IdCheck, id: Uint8Array): boolean {
  return ((id[CHECK_AT]! << 8) | id[CHECK_AT + 1]!) === checkOf(check, id);
}

export function writeCheck(check: IdCheck, id: Uint8Array): void {
  const value = checkOf(check, id);
  id[CHECK_AT] = value >>> 8;
  id[CHECK_AT + 1] = value;
}

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** Where it is in an id, and where what comes behind it begins. */
export const CHECK_AT = 8;
export const CHECK_END = 10;
