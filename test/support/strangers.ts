import { randomBytes } from 'node:crypto';
import { cryptoInitial } from './crypto-flood.ts';

/** What strangers send to a server's UDP port. */
export const STRANGERS = ['spoofed Initials', 'random datagrams', 'another version', 'one CRYPTO flood'] as const;
export type Stranger = (typeof STRANGERS)[number];

/** For each kind what makes the nth datagram. */
export function makers(): Record<Stranger, (n: number) => Uint8Array> {
  const ids = [randomBytes(16), randomBytes(16)] as const;
  return {
    'spoofed Initials': spoofed,
    'random datagrams': () => randomBytes(1 + Math.floor(Math.random() * 1400)),
    'another version': otherVersion,
    'one CRYPTO flood': (n) => cryptoInitial(...ids, n),
  };
}

/** Looks like a client's first packet, and shows no secret. */
export function spoofed(): Uint8Array {
  return Buffer.concat([Buffer.from('c000000001', 'hex'), id(), id(), Buffer.from([0, 0x44, 0x86]), randomBytes(1158)]);
}

function otherVersion(): Uint8Array {
  const datagram = spoofed();
  datagram[1] = 0x6b;
  return datagram;
}

function id(): Buffer {
  return Buffer.concat([Buffer.from([16]), randomBytes(16)]);
}
