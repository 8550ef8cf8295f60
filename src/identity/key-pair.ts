import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { QtunnelError } from '../errors.ts';

/** A certificate and its private key, parsed and known to belong together. */
export interface ParsedPair {
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
}

export interface PairText {
  /** PEM; after the server's certificate others may follow that lead to its authority. */
  readonly certificate: string;
  readonly privateKey: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** @throws QtunnelError `CERT_INVALID` when one of them is not PEM, `CERT_KEY_MISMATCH` when they do not belong together. */
export function parsePair(pair: PairText): ParsedPair {
  const certificate = parseCertificate(pair.certificate, pair.certFile);
  const privateKey = parsePrivateKey(pair.privateKey, pair.keyFile);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new QtunnelError(
      'CERT_KEY_MISMATCH',
      `The key ${pair.keyFile} does not belong to the certificate ${pair.certFile}: give the two files that were made together.`,
    );
  }
  return { certificate, privateKey };
}

/** node would also take DER, which the transports do not. */
function parseCertificate(text: string, path: string): X509Certificate {
  try {
    if (!CERTIFICATE_PEM.test(text)) throw new Error('no BEGIN CERTIFICATE line');
    return new X509Certificate(text);
  } catch (cause) {
    throw new QtunnelError(
      'CERT_INVALID',
      `${path} is not a certificate in PEM form: give the file that begins with BEGIN CERTIFICATE.`,
      {
        cause,
      },
    );
  }
}

function parsePrivateKey(text: string, path: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (cause) {
    const advice = ENCRYPTED_PEM.test(text)
      ? `The key ${path} is protected by a passphrase: take it off with openssl pkey -in ${path} -out FILE.`
      : `${path} is not a private key in PEM form: give the file that has a BEGIN PRIVATE KEY line.`;
    throw new QtunnelError('CERT_INVALID', advice, { cause });
  }
}

export type Period = 'valid' | 'not yet valid' | 'expired';

/** How the certificate's period (RFC 5280 §4.1.2.5) stands to now. */
export function periodOf(certificate: X509Certificate): Period {
  const now = Date.now();
  if (now < Date.parse(certificate.validFrom)) return 'not yet valid';
  return now > Date.parse(certificate.validTo) ? 'expired' : 'valid';
}

const CERTIFICATE_PEM = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/;
const ENCRYPTED_PEM = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m;
