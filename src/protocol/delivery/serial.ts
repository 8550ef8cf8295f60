/** Numbers that wrap on the wire: three bytes of a number that counts on for ever, told apart by being near to one that is known (RFC 1982). */

/** The number that ends with these 24 bits and is nearest to `near`. */
export function expand(low: number, near: number): number {
  const distance = (low - (near % WRAP) + WRAP) % WRAP;
  return distance < WRAP / 2 ? near + distance : near + distance - WRAP;
}

export const WRAP = 2 ** 24;
