/** Numbers that wrap on the wire: three bytes of a number that counts on for ever, told apart by being near to one that is known (RFC 1982). */

/** The number that ends with these bits, 24 if `wrap` does not say otherwise, and is nearest to `near`. */
export function expand(low: number, near: number, wrap = WRAP): number {
  const distance = (low - (near % wrap) + wrap) % wrap;
  return distance < wrap / 2 ? near + distance : near + distance - wrap;
}

export const WRAP = 2 ** 24;
