import { quote } from '../../config/layer.ts';

/** What a field's error says, whatever is wrong with it: `expected a port from 1 to 65535, got 0`. */
export interface Expectation {
  /** `a port from 1 to 65535`; the OpenAPI document has it as `x-expected`. */
  readonly what: string;
  readonly error: (issue: { readonly input?: unknown }) => string;
}

export function expected(what: string): Expectation {
  return { what, error: ({ input }) => (input === undefined ? `expected ${what}` : `expected ${what}, got ${quote(input)}`) };
}

export const PORT = expected('a port from 1 to 65535');
export const PROTOCOL = expected('"tcp" or "udp"');
export const NAME = expected('a name of letters, digits, "-", "_" and "."');
export const TARGET = expected('an address such as 127.0.0.1:22 or [::1]:22');
export const HOST = expected('a host name or an IP address');
export const VIA = expected('"agent" or "direct"');
export const NETWORK = expected('a network such as 192.0.2.0/24 or 2001:db8::/32');
export const NETWORKS = expected('at most 256 networks such as 192.0.2.0/24');
export const RATE = expected('bits a second from 8000 to 1000000000000, or a rate such as "500Kbit" or "10Mbit"');
export const NOTE = expected('a text of at most 256 characters, none of them NUL');
export const ROLE = expected('"read" or "manage"');
export const OBJECT = expected('a JSON object');
