/** How much parity is sent: as much as brings something, none, or so many parity shards for each so many data shards. */
export type Fec = 'auto' | 'off' | { readonly data: number; readonly parity: number };

/** Reads `auto`, `off` or `D:P`; null for anything else. */
export function parseFec(text: string): Fec | null {
  if (text === 'auto' || text === 'off') return text;
  const [, d, p] = /^(\d{1,3}):(\d{1,2})$/.exec(text) ?? [];
  const data = Number(d);
  const parity = Number(p);
  return data >= 1 && data <= MOST_DATA && parity >= 1 && parity <= MOST_PARITY ? { data, parity } : null;
}

/** The text that `parseFec` reads the same from. */
export function formatFec(fec: Fec): string {
  return typeof fec === 'string' ? fec : `${fec.data}:${fec.parity}`;
}

const MOST_DATA = 100;
const MOST_PARITY = 20;
