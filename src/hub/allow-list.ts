import type { LookupAddress, LookupOptions } from 'node:dns';
import { lookup as systemLookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import type { Address } from '../config/settings.ts';
import type { Parsed } from '../config/values.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { canonicalAddress } from '../protocol/ip-address.ts';

/** What may be reached through an agent: networks, each with a range of ports. */
export class AllowList {
  readonly #entries: readonly Entry[];

  private constructor(entries: readonly Entry[]) {
    this.#entries = entries;
  }

  /** Each as `127.0.0.1:22`, `10.0.0.0/8:80-443`, `[fd00::]/8:*` or `localhost:*`; without ports all of them. */
  static parse(texts: readonly string[]): Parsed<AllowList> {
    const entries: Entry[] = [];
    for (const text of texts) {
      const entry = parseEntry(text);
      if (entry === null) return { expected: `${EXPECTED}; "${text.slice(0, LONGEST)}" is not one` };
      entries.push(entry);
    }
    return { value: new AllowList(entries) };
  }

  /** As it was written. */
  get texts(): readonly string[] {
    return this.#entries.map(({ text }) => text);
  }

  /** Whether this IP address and port are in it. */
  has(host: string, port: number): boolean {
    return isIP(host) !== 0 && this.#entries.some((entry) => isInRange(entry, port) && isIn(entry.networks, host));
  }

  /** Whether a target may be in it: for a name that only the agent can resolve, whether its port is. */
  mayHave({ host, port }: Address): boolean {
    if (isIP(host) !== 0) return this.has(host, port);
    if (host.toLowerCase() === 'localhost') return LOCALHOST.some((address) => this.has(address, port));
    return this.#entries.some((entry) => isInRange(entry, port));
  }

  /**
   * Resolves as the system does and gives only what is in the list, so that what is dialled is what was checked.
   * @returns for `net.connect`; it fails with QtunnelError `TARGET_FORBIDDEN` when the name has no address in the list.
   */
  lookupFor(target: Address): LookupFunction {
    return (name, options, callback) => {
      const { all: wantsAll = false, ...others } = options as LookupOptions;
      systemLookup(name, { ...others, all: true }, (error, found: LookupAddress[]) => {
        if (error !== null) return callback(error, '');
        const allowed = found.filter(({ address }) => this.has(address, target.port));
        const [first] = allowed;
        if (first === undefined) return callback(forbidden(target), '');
        if (wantsAll) callback(null, allowed);
        else callback(null, first.address, first.family);
      });
    };
  }
}

export function forbidden(target: Address): QtunnelError {
  return new QtunnelError('TARGET_FORBIDDEN', `The agent does not let ${formatAddress(target)} be reached (-allow).`);
}

/** Networks of clients, for `allow` of a mapping: `192.0.2.0/24`, `2001:db8::/32`, or a single address. */
export function parseNetworks(texts: readonly string[]): Parsed<BlockList> {
  const networks = new BlockList();
  for (const text of texts)
    if (!addNetwork(networks, text))
      return { expected: `networks such as 192.0.2.0/24 or 2001:db8::/32; "${text.slice(0, LONGEST)}" is not one` };
  return { value: networks };
}

/** Whether `host`, an IP address in any clothes, is in one of the networks. */
export function isIn(networks: BlockList, host: string): boolean {
  const plain = canonicalAddress(host);
  return networks.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4');
}

interface Entry {
  readonly text: string;
  readonly networks: BlockList;
  readonly first: number;
  readonly last: number;
}

function isInRange({ first, last }: Entry, port: number): boolean {
  return port >= first && port <= last;
}

function parseEntry(text: string): Entry | null {
  if (text.length > LONGEST) return null;
  const [, bracketed, plain, prefix = '', from, to] = ENTRY.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return null;
  if (bracketed !== undefined && isIP(bracketed) !== 6) return null;
  const [first, last] = from === undefined || from === '*' ? [1, 65_535] : [Number(from), Number(to ?? from)];
  if (first < 1 || last > 65_535 || first > last) return null;
  const networks = new BlockList();
  const isLocalhost = host.toLowerCase() === 'localhost' && prefix === '';
  const whole = isLocalhost ? LOOPBACK : [`${host}${prefix}`];
  return whole.every((network) => addNetwork(networks, network)) ? { text, networks, first, last } : null;
}

function addNetwork(networks: BlockList, text: string): boolean {
  const [host = '', bits, ...more] = text.split('/');
  const family = isIP(host);
  if (family === 0 || more.length > 0 || host.includes('%')) return false;
  const widest = family === 6 ? 128 : 32;
  const prefix = bits === undefined ? widest : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (!(prefix <= widest)) return false;
  networks.addSubnet(host, prefix, family === 6 ? 'ipv6' : 'ipv4');
  return true;
}

const LOOPBACK = ['127.0.0.0/8', '::1/128'];
const LOCALHOST = ['127.0.0.1', '::1'];
const ENTRY = /^(?:\[([^\]]*)\]|([^:[\]/]+))(\/\d{1,3})?(?::(?:(\*|\d{1,5})(?:-(\d{1,5}))?))?$/;
const EXPECTED = 'addresses or networks with ports, such as 127.0.0.1:22, 10.0.0.0/8:80-443 or [fd00::]/8:*';
/** Characters of an entry. */
const LONGEST = 64;
