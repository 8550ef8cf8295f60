import type { Address } from '../config/settings.ts';
import { type Parsed, parseAddress } from '../config/values.ts';
import { formatAddress } from '../link/address.ts';
import type { Protocol } from './mapping.ts';

/** What an agent is to dial, as OPEN's `target` says it to an agent: `tcp/127.0.0.1:22`. */
export interface Target {
  readonly protocol: Protocol;
  readonly address: Address;
}

export function encodeTarget({ protocol, address }: Target): string {
  return `${protocol}/${formatAddress(address)}`;
}

/** Null for what is no target. */
export function decodeTarget(text: string): Target | null {
  const [, protocol, rest] = TARGET.exec(text) ?? [];
  if (protocol === undefined || rest === undefined || rest.length > LONGEST) return null;
  const parsed = parseTarget(rest);
  return 'value' in parsed ? { protocol: protocol as Protocol, address: parsed.value } : null;
}

/** `HOST:PORT` as a user writes it; without a host it is `localhost`. */
export function parseTarget(text: string): Parsed<Address> {
  if (text.length > LONGEST) return { expected: `an address of at most ${LONGEST} characters` };
  return parseAddress({ dialled: true }, text);
}

const TARGET = /^(tcp|udp)\/(.*)$/;
/** Characters: a name of 253, brackets, and a port. */
const LONGEST = 262;
