import { homedir } from 'node:os';
import { isIP, isIPv6 } from 'node:net';
import path from 'node:path';
import { parseFingerprint as readFingerprint } from '../identity/fingerprint.ts';
import { formatAddress } from '../link/address.ts';
import { type Fec, formatFec, parseFec } from '../protocol/fec.ts';
import type { FlagShape, KindValues } from './flags.ts';
import type { Address, ClientEntry, NamedAddress, PortSpan } from './settings.ts';

/** A value, or in words what was expected instead: `a duration such as 500ms, 5s, 2m or 1h`. */
export type Parsed<T> = { readonly value: T } | { readonly expected: string };

/**
 * Reads a flag's value as it stands on a command line, in the environment or in YAML.
 * @param folder what a relative path is relative to; undefined leaves it relative to the working directory.
 */
export function parseValue(flag: FlagShape, text: string, folder?: string): Parsed<KindValues[keyof KindValues]> {
  switch (flag.kind) {
    case 'boolean':
      return parseBoolean(text);
    case 'address':
      return parseAddress(flag, text);
    case 'backends':
      return parseBackends(flag, text);
    case 'duration':
      return parseDuration(text);
    case 'size':
      return within(flag, parseSize(text), formatSize);
    case 'rate':
      return parseRate(text);
    case 'integer':
      return within(flag, parseInteger(text), String);
    case 'enum':
      return parseEnum(flag, text);
    case 'clients':
    case 'path':
      return parsePath(flag, text, folder);
    case 'fingerprint':
      return parseFingerprint(text);
    case 'fingerprints':
      return parseFingerprints(text);
    case 'fec':
      return parseFecValue(text);
    case 'name':
      return parseName(text);
    case 'list':
      return parseList(text);
    case 'ports':
      return parsePortSpans(text);
    case 'string':
      return text === '' ? { expected: 'at least one character' } : { value: text };
  }
}

/** Writes a value so that `parseValue` reads the same back. */
export function formatValue(flag: FlagShape, value: KindValues[keyof KindValues]): string | boolean | number {
  if (typeof value === 'number') {
    if (flag.kind === 'duration') return formatDuration(value);
    if (flag.kind === 'rate') return formatRate(value);
    return flag.kind === 'size' ? formatSize(value) : value;
  }
  if (typeof value === 'object' && 'parity' in value) return formatFec(value);
  if (typeof value === 'object') return 'port' in value ? formatAddress(value) : value.map(formatItem).join(',');
  return value;
}

/** `web=127.0.0.1:80`, or the address alone when it has no name. */
export function formatNamed({ name, ...address }: NamedAddress): string {
  return name === '' ? formatAddress(address) : `${name}=${formatAddress(address)}`;
}

/** `10000-10010`, or a port alone. */
export function formatSpan({ first, last }: PortSpan): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/** Milliseconds in the largest unit that is exact: 90000 → `90s`, 120000 → `2m`. */
export function formatDuration(milliseconds: number): string {
  return inLargestUnit(milliseconds, DURATION_UNITS);
}

/** Bytes in the largest unit that is exact: 65536 → `64K`. */
export function formatSize(bytes: number): string {
  return inLargestUnit(bytes, SIZE_UNITS);
}

/** Bits a second in the largest unit that is exact: 1500000 → `1500Kbit`. */
export function formatRate(bits: number): string {
  return inLargestUnit(bits, RATE_UNITS);
}

function parseBoolean(text: string): Parsed<boolean> {
  if (text === 'true') return { value: true };
  return text === 'false' ? { value: false } : { expected: 'true or false' };
}

/** An address on this machine or another's, by its flag's rules. */
export function parseAddress(flag: Pick<FlagShape, 'anyPort' | 'dialled'>, text: string): Parsed<Address> {
  const [, bracketed, plain, digits] = ADDRESS.exec(text) ?? [];
  if (digits === undefined) return { expected: EXPECTED.address + hintForAddress(text) };
  const host = bracketed ?? plain ?? '';
  if (bracketed !== undefined && !isIPv6(bracketed))
    return { expected: `${EXPECTED.address} (only an IPv6 address stands in brackets)` };
  if (bracketed === undefined && !isHost(host)) return { expected: EXPECTED.address };
  const port = Number(digits);
  const lowest = flag.anyPort === true ? 0 : 1;
  if (port < lowest || port > 65_535) return { expected: `a port from ${lowest} to 65535` };
  return { value: { host: host === '' && flag.dialled === true ? 'localhost' : host, port } };
}

function parseBackends(flag: FlagShape, text: string): Parsed<readonly NamedAddress[]> {
  const backends: NamedAddress[] = [];
  for (const item of text.split(',')) {
    const [, name = '', address = ''] = NAMED.exec(item.trim()) ?? [];
    if (name !== '' && !NAME.test(name)) return { expected: `${EXPECTED.name} before the equals sign` };
    const parsed = parseAddress(flag, address);
    if ('expected' in parsed) return { expected: name === '' ? parsed.expected : `${parsed.expected}, after ${name}=` };
    backends.push({ name, ...parsed.value });
  }
  return { value: backends };
}

function isHost(host: string): boolean {
  if (host === '' || isIP(host) !== 0) return true;
  return HOST_NAME.test(host) && !LOOKS_LIKE_IPV4.test(host);
}

function hintForAddress(text: string): string {
  if (/^\d+$/.test(text)) return ` (:${text} for a port on this machine)`;
  if (isIPv6(text)) return ' (an IPv6 address stands in brackets)';
  return HOST_NAME.test(text) ? ' (the port is missing)' : '';
}

function parseDuration(text: string): Parsed<number> {
  const parts = [...text.matchAll(DURATION_PART)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return { expected: EXPECTED.duration };
  const total = parts.reduce((sum, [, count, unit]) => sum + Number(count) * unitSize(DURATION_UNITS, unit), 0);
  const milliseconds = Math.round(total);
  if (milliseconds < 1 || milliseconds > LONGEST_MS) return { expected: `a duration from 1ms to ${formatDuration(LONGEST_MS)}` };
  return { value: milliseconds };
}

function parseSize(text: string): Parsed<number> {
  const [, count, unit] = SIZE.exec(text) ?? [];
  if (count === undefined) return { expected: EXPECTED.size };
  return { value: Number(count) * unitSize(SIZE_UNITS, unit?.toUpperCase()) };
}

function parseRate(text: string): Parsed<number> {
  const [, count, prefix = ''] = RATE.exec(text) ?? [];
  if (count === undefined) return { expected: EXPECTED.rate };
  const bits = Math.round(Number(count) * unitSize(RATE_UNITS, `${prefix.toUpperCase()}bit`));
  const possible = bits >= LEAST_RATE && bits <= MOST_RATE;
  return possible ? { value: bits } : { expected: `a rate from ${formatRate(LEAST_RATE)} to ${formatRate(MOST_RATE)}` };
}

function parseInteger(text: string): Parsed<number> {
  return /^\d+$/.test(text) ? { value: Number(text) } : { expected: EXPECTED.integer };
}

function within(flag: FlagShape, parsed: Parsed<number>, format: (value: number) => string): Parsed<number> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = flag;
  if ('expected' in parsed || (parsed.value >= min && parsed.value <= max)) return parsed;
  return { expected: `${flag.kind === 'size' ? 'a size' : 'a number'} from ${format(min)} to ${format(max)}` };
}

function parseEnum({ choices = [] }: FlagShape, text: string): Parsed<string> {
  return choices.includes(text) ? { value: text } : { expected: `${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}` };
}

function parsePath(flag: FlagShape, text: string, folder: string | undefined): Parsed<string> {
  if (text === '' || text.includes('\0')) return { expected: "a file's path" };
  if (flag.words?.includes(text)) return { value: text };
  // A shell does not expand the tilde in -flag=~/file.
  if (text.startsWith('~/')) return { value: path.join(homedir(), text.slice(2)) };
  return { value: folder === undefined ? text : path.resolve(folder, text) };
}

function parseFingerprint(text: string): Parsed<string> {
  try {
    return { value: readFingerprint(text) };
  } catch {
    return { expected: EXPECTED.fingerprint };
  }
}

function parseFingerprints(text: string): Parsed<readonly string[]> {
  const parsed = text.split(',').map(parseFingerprint);
  const wrong = parsed.find((one) => 'expected' in one);
  return wrong ?? { value: parsed.flatMap((one) => ('value' in one ? [one.value] : [])) };
}

function parseFecValue(text: string): Parsed<Fec> {
  const value = parseFec(text);
  return value === null ? { expected: EXPECTED.fec } : { value };
}

function parseName(text: string): Parsed<string> {
  return NAME.test(text) ? { value: text } : { expected: EXPECTED.name };
}

function parseList(text: string): Parsed<readonly string[]> {
  const items = text.split(',').map((item) => item.trim());
  return items.includes('') ? { expected: 'names with commas between them' } : { value: items };
}

/** Nothing, which an empty sequence in YAML comes to, is none as well. */
function parsePortSpans(text: string): Parsed<readonly PortSpan[]> {
  if (text === '' || text === NO_PORTS) return { value: [] };
  const spans = text.split(',').map((item) => {
    const [, first, last = first] = SPAN.exec(item.trim()) ?? [];
    return { first: Number(first), last: Number(last) };
  });
  const isRight = spans.every(({ first, last }) => first >= 1 && last >= first && last <= 65_535);
  return isRight ? { value: spans } : { expected: EXPECTED.ports };
}

function formatItem(item: string | NamedAddress | ClientEntry | PortSpan): string {
  if (typeof item === 'string') return item;
  if ('first' in item) return formatSpan(item);
  return 'port' in item ? formatNamed(item) : item.name;
}

function unitSize(units: Readonly<Record<string, number>>, unit: string | undefined): number {
  return units[unit ?? ''] ?? 1;
}

function inLargestUnit(value: number, units: Readonly<Record<string, number>>): string {
  const [unit, size] = Object.entries(units).find(([, candidate]) => value % candidate === 0) ?? ['', 1];
  return `${value / size}${unit}`;
}

const SPAN = /^(\d{1,5})(?:-(\d{1,5}))?$/;
const NO_PORTS = 'none';
const ADDRESS = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,6})$/;
const NAMED = /^(?:([^=]*)=)?(.*)$/;
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Letters of any script: the resolver turns them into IDNA. */
const HOST_NAME = /^[\p{L}\p{N}_]([\p{L}\p{N}._-]*[\p{L}\p{N}_.])?$/u;
const LOOKS_LIKE_IPV4 = /^[\d.]+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;
const SIZE = /^(\d{1,15})(?:([KMG])(?:i?B)?)?$/i;
/** Largest first, for inLargestUnit. */
const DURATION_UNITS = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
const SIZE_UNITS = { G: 1024 ** 3, M: 1024 ** 2, K: 1024, '': 1 };
const RATE = /^(\d{1,12}(?:\.\d{1,6})?)([KMG])?bit$/i;
const RATE_UNITS = { Gbit: 1e9, Mbit: 1e6, Kbit: 1000, bit: 1 };
const LEAST_RATE = 8_000;
const MOST_RATE = 1e12;
/** Well below 2^31 ms, from which on Node's timers fire at once. */
const LONGEST_MS = 7 * 24 * 3_600_000;

const EXPECTED = {
  address: 'an address such as :8080, host:443 or [::1]:443',
  name: 'a name of letters, digits, "-", "_" and "."',
  duration: 'a duration such as 500ms, 5s, 2m or 1h',
  size: 'a size in bytes such as 65536, 64K, 4M or 1G',
  rate: 'a rate such as 500Kbit, 100Mbit or 1.5Gbit',
  integer: 'a whole number',
  fec: 'auto, off, or P datagrams for each D as D:P (D from 1 to 100, P from 1 to 20)',
  fingerprint: 'a SHA-256 fingerprint of 64 hexadecimal digits',
  ports: 'ports such as 10022 or 10000-10010, or none',
} as const;
