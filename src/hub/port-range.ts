import { type Parsed, parseAddress } from '../config/values.ts';

/** The public ports that a hub may listen on, both ends included; the host is empty for every local address. */
export interface PortRange {
  readonly host: string;
  readonly first: number;
  readonly last: number;
}

/** `10000-10100`, `10022`, or with the address to listen on `192.0.2.1:10000-10100`. */
export function parsePorts(text: string): Parsed<PortRange> {
  const [, address = '', from, to] = RANGE.exec(text) ?? [];
  if (from === undefined) return { expected: EXPECTED };
  const parsed = parseAddress({}, `${address === '' ? ':' : address}${from}`);
  if ('expected' in parsed) return { expected: EXPECTED };
  const { host, port: first } = parsed.value;
  const last = to === undefined ? first : Number(to);
  return last < first || last > 65_535
    ? { expected: 'the ports from the least to the largest, at most 65535' }
    : { value: { host, first, last } };
}

export function formatPorts({ host, first, last }: PortRange): string {
  const shown = host.includes(':') ? `[${host}]` : host;
  return `${host === '' ? '' : `${shown}:`}${first}-${last}`;
}

const RANGE = /^(.*:)?(\d{1,5})(?:-(\d{1,5}))?$/;
const EXPECTED = 'public ports such as 10000-10100 or 192.0.2.1:10000-10100';
