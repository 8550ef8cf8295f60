import { QtunnelError } from '../errors.ts';
import { readPrivateText, readText } from './files.ts';
import { type ParsedPair, parsePair, periodOf } from './key-pair.ts';

export interface UserPair {
  /** The certificate and those that follow it in its file, PEM. */
  readonly certificate: string;
  readonly parsed: ParsedPair;
  readonly warnings: readonly string[];
}

/**
 * The certificate and key of `-cert-file` and `-key-file`.
 * @throws QtunnelError `FILE_UNREADABLE`, `CERT_INVALID`, `CERT_KEY_MISMATCH`, `CERT_EXPIRED`.
 */
export async function readUserPair(certFile: string, keyFile: string): Promise<UserPair> {
  const certificate = await readText(certFile, 'certificate');
  const { text: privateKey, warnings } = await readPrivateText(keyFile, 'key file');
  const parsed = parsePair({ certificate, privateKey, certFile, keyFile });
  const period = periodOf(parsed.certificate);
  if (period !== 'valid') {
    const { validFrom, validTo } = parsed.certificate;
    const date = period === 'expired' ? `it was valid until ${validTo}` : `it is valid from ${validFrom}`;
    throw new QtunnelError(
      'CERT_EXPIRED',
      `The certificate ${certFile} is ${period} (${date}): give one that is, or check this machine's clock.`,
    );
  }
  return { certificate, parsed, warnings };
}
