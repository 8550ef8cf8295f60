import { createHash } from 'node:crypto';
import { QtunnelError } from '../errors.ts';

/** The SHA-256 of a certificate in DER: 64 lower-case hexadecimal digits, the form that settings and the protocol use. */
export function fingerprint(der: Uint8Array): string {
  return createHash('sha256').update(der).digest('hex');
}

/** The form for people and for the known hosts file: `SHA256:AB:CD:…`. */
export function formatFingerprint(hex: string): string {
  return `SHA256:${(hex.match(/../g) ?? []).join(':').toUpperCase()}`;
}

/**
 * Reads a fingerprint as `formatFingerprint` writes it; the prefix and the colons may be missing, case does not matter.
 * @returns 64 lower-case hexadecimal digits.
 * @throws QtunnelError `CONFIG_INVALID` when the text is anything else.
 */
export function parseFingerprint(text: string): string {
  const digits = text.trim().replace(/^sha256:/i, '');
  if (!PLAIN.test(digits) && !WITH_COLONS.test(digits)) {
    throw new QtunnelError(
      'CONFIG_INVALID',
      `"${text}" is not a SHA-256 fingerprint: give 64 hexadecimal digits, with a colon after every second one or without.`,
    );
  }
  return digits.replaceAll(':', '').toLowerCase();
}

const PLAIN = /^[\da-f]{64}$/i;
const WITH_COLONS = /^[\da-f]{2}(?::[\da-f]{2}){31}$/i;
