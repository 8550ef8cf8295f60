import type { Moment, MovingMapping } from './types.ts';

/** What each mapping carried in the last minute, second by second. */
export class RecentRates {
  readonly length = 60;
  readonly #rates = new Map<string, { readonly in: number[]; readonly out: number[] }>();

  add({ mappings }: Moment): void {
    const keys = new Set(mappings.map(keyOf));
    for (const key of this.#rates.keys()) if (!keys.has(key)) this.#rates.delete(key);
    for (const mapping of mappings) {
      const rates = this.#rates.get(keyOf(mapping)) ?? { in: [], out: [] };
      this.#rates.set(keyOf(mapping), rates);
      rates.in.push(mapping.rate_in);
      rates.out.push(mapping.rate_out);
      if (rates.in.length > this.length) {
        rates.in.shift();
        rates.out.shift();
      }
    }
  }

  /** In and out, the oldest first. */
  of(key: string): readonly [readonly number[], readonly number[]] {
    const { in: ins = [], out: outs = [] } = this.#rates.get(key) ?? {};
    return [ins, outs];
  }
}

/** A mapping's name: `tcp/10022`. */
export function keyOf({ protocol, port }: Pick<MovingMapping, 'protocol' | 'port'>): string {
  return `${protocol}/${port}`;
}
