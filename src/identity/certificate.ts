import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { domainToASCII } from 'node:url';
import { QtunnelError } from '../errors.ts';
import type { CertificateRequest } from './make-certificate.ts';
import { runInWorker } from './workers.ts';

export interface CertificateOptions {
  /** Names and IP addresses to certify besides this machine's own. */
  readonly hosts?: readonly string[];
  /** How long from now it is valid; 3650 unless given. */
  readonly days?: number;
}

export interface KeyPair {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS#8. */
  readonly privateKey: string;
}

/**
 * Makes a key and a self-signed server certificate for localhost, this machine's names and addresses, and `hosts`, off the main thread.
 * @throws QtunnelError `CONFIG_INVALID` when a host is neither a name nor an IP address, or when `days` is not a whole number from 1 to
 * 36500.
 */
export async function createCertificate(options: CertificateOptions = {}): Promise<KeyPair> {
  const description = describe(options);
  const privateKey = await newPrivateKey();
  return { certificate: await runInWorker('makeCertificate', { ...description, privateKey }), privateKey };
}

/** RSA 2048 in PEM, PKCS#8, made off the main thread. */
export async function newPrivateKey(): Promise<string> {
  return await runInWorker('generatePrivateKey', undefined);
}

/** As `createCertificate`, for an RSA key (PEM) that is there; the certificate in PEM. */
export async function newCertificate(privateKey: string, options: CertificateOptions = {}): Promise<string> {
  return await runInWorker('makeCertificate', { ...describe(options), privateKey });
}

function describe({ hosts = [], days = DEFAULT_DAYS }: CertificateOptions): Omit<CertificateRequest, 'privateKey'> {
  return { ...subjectNames(hosts), ...validity(days) };
}

function subjectNames(extra: readonly string[]): Pick<CertificateRequest, 'dnsNames' | 'ipAddresses'> {
  const dnsNames = new Set(['localhost']);
  const ipAddresses = new Set(['127.0.0.1', '::1', ...interfaceAddresses()]);
  const ownName = toDnsName(hostname());
  if (ownName !== null) dnsNames.add(ownName);
  for (const host of extra) {
    const ip = canonicalIp(host);
    if (ip === null) dnsNames.add(checkedDnsName(host));
    else ipAddresses.add(ip);
  }
  return { dnsNames: [...dnsNames], ipAddresses: [...ipAddresses] };
}

function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((entry) => !entry.internal)
    .map((entry) => canonicalIp(entry.address))
    .filter((address) => address !== null);
}

/** An IP address in one form for all its spellings (IPv6 without dots, brackets or zone, which forge does not read); null for others. */
function canonicalIp(host: string): string | null {
  const address = host.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '');
  switch (isIP(address)) {
    case 4:
      return address;
    case 6:
      return new URL(`http://[${address}]`).hostname.slice(1, -1);
    default:
      return null;
  }
}

function checkedDnsName(host: string): string {
  const name = toDnsName(host);
  if (name !== null) return name;
  throw new QtunnelError(
    'CONFIG_INVALID',
    `A certificate cannot be made for "${host}": give a host name or an IP address, without a port.`,
  );
}

/** The name in ASCII (RFC 5890), as certificates hold it; null when it is not one. */
function toDnsName(host: string): string | null {
  const wildcard = host.startsWith('*.') ? '*.' : '';
  const name = domainToASCII(host.slice(wildcard.length)).replace(/\.$/, '');
  return DNS_NAME.test(name) && name.length <= MAX_NAME_LENGTH ? wildcard + name : null;
}

function validity(days: number): Pick<CertificateRequest, 'notBefore' | 'notAfter'> {
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS) {
    throw new QtunnelError(
      'CONFIG_INVALID',
      `A certificate cannot be valid for ${days} days: give a whole number from 1 to ${MAX_DAYS}.`,
    );
  }
  const now = Date.now();
  return { notBefore: new Date(now - CLOCK_SKEW_MS), notAfter: new Date(now + days * DAY_MS) };
}

const DEFAULT_DAYS = 3650;
const MAX_DAYS = 36_500;
const DAY_MS = 24 * 3600 * 1000;
/** The certificate is to be valid at once for a client whose clock is slow. */
const CLOCK_SKEW_MS = 3600 * 1000;
/** RFC 1035 §2.3.4; underscores because machines have such names. */
const DNS_NAME = /^(?!-)[\w-]{1,63}(?:\.(?!-)[\w-]{1,63})*$/;
const MAX_NAME_LENGTH = 253;
