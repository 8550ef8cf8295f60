import type { KeyObject } from 'node:crypto';
import { QtunnelError } from '../errors.ts';
import type { ClientKeys } from '../link/options.ts';
import { fingerprint } from './fingerprint.ts';
import { readUserPair } from './user-pair.ts';

export interface LoadedClientIdentity {
  readonly keys: ClientKeys;
  readonly warnings: readonly string[];
}

/**
 * What a client shows to a server that asks for a certificate; null when it is to show none.
 * @throws QtunnelError `CONFIG_INVALID` when only one file is given, `FILE_UNREADABLE`, `CERT_INVALID` (for keys that QUIC does not take, too),
 *   `CERT_KEY_MISMATCH`, `CERT_EXPIRED`.
 */
export async function loadClientIdentity(certFile: string | null, keyFile: string | null): Promise<LoadedClientIdentity | null> {
  if (certFile === null && keyFile === null) return null;
  if (certFile === null || keyFile === null)
    throw new QtunnelError('CONFIG_INVALID', 'Only one of -cert-file and -key-file is given: give both or neither.');
  const { certificate, parsed, warnings } = await readUserPair(certFile, keyFile);
  const { privateKey } = parsed;
  if (!isTaken(privateKey)) {
    const message = `The key ${keyFile} is of a kind that QUIC does not take: give one of RSA, or of ECDSA on P-256, P-384 or P-521.`;
    throw new QtunnelError('CERT_INVALID', message);
  }
  const keys = {
    certificatePem: certificate,
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    fingerprint: fingerprint(parsed.certificate.raw),
  };
  return { keys, warnings };
}

/** By BoringSSL, as what a client signs with. */
function isTaken({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  return asymmetricKeyType === 'rsa' || (asymmetricKeyType === 'ec' && CURVES.has(asymmetricKeyDetails?.namedCurve ?? ''));
}

/** P-256, P-384, P-521. */
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);
