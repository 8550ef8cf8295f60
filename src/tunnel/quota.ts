import { hostOf } from '../link/address.ts';
import type { Link } from '../link/link.ts';
import { sourceOf } from '../protocol/sources.ts';

/** How much each of many has of something of which each may have so much; whoever has nothing is not remembered. */
export class Quota {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** Takes one more for `key`, to be given back with `release`; false, and nothing, when it has `most`. */
  take(key: string, most: number): boolean {
    const count = this.of(key);
    if (count >= most) return false;
    this.#counts.set(key, count + 1);
    return true;
  }

  release(key: string): void {
    const left = this.of(key) - 1;
    if (left > 0) this.#counts.set(key, left);
    else this.#counts.delete(key);
  }
}

/** Who has a link, for a quota: the client of that name; of those without one, all of a source address (IPv4 address, IPv6 /64) together. */
export function clientKey({ client = '', peer }: Pick<Link, 'client' | 'peer'>): string {
  return client === '' ? sourceKey(hostOf(peer)) : `client ${client}`;
}

/** Who comes from this IP address. */
export function sourceKey(host: string): string {
  return `from ${sourceOf(host)}`;
}
