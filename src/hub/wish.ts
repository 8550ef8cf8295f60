import type { Address } from '../config/settings.ts';
import type { Parsed } from '../config/values.ts';
import { formatAddress } from '../link/address.ts';
import type { Protocol } from './mapping.ts';
import { parseTarget } from './target.ts';

/** What an agent asks the hub for with `-R`: a public port that leads to a target of its own. */
export interface Wish {
  readonly protocol: Protocol;
  readonly port: number;
  readonly target: Address;
}

/** `10022:127.0.0.1:22`, or `10053:127.0.0.1:53/udp`. */
export function parseWish(text: string): Parsed<Wish> {
  const [, digits, target, protocol = 'tcp'] = WISH.exec(text) ?? [];
  if (digits === undefined || target === undefined) return { expected: EXPECTED };
  const port = Number(digits);
  if (port < 1 || port > 65_535) return { expected: 'a public port from 1 to 65535' };
  const parsed = parseTarget(target);
  if ('expected' in parsed) return { expected: `${parsed.expected}, after ${digits}:` };
  return { value: { protocol: protocol as Protocol, port, target: parsed.value } };
}

export function formatWish({ protocol, port, target }: Wish): string {
  return `${port}:${formatAddress(target)}${protocol === 'udp' ? '/udp' : ''}`;
}

const WISH = /^(\d{1,6}):(.*?)(?:\/(tcp|udp))?$/;
const EXPECTED = "PORT:HOST:PORT, the hub's port and what it leads to, such as 10022:127.0.0.1:22 or 10053:127.0.0.1:53/udp";
