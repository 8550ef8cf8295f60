import { X509Certificate } from 'node:crypto';
import { QtunnelError } from '../errors.ts';
import { untrustedReason } from './certificate-path.ts';
import { readText } from './files.ts';

/** The certificates of a CA file. */
export interface Authorities {
  readonly file: string;
  readonly certificates: readonly X509Certificate[];
}

/** @throws QtunnelError `FILE_UNREADABLE`, `CERT_INVALID` when the file holds no certificate or a broken one. */
export async function loadAuthorities(file: string): Promise<Authorities> {
  const blocks = (await readText(file, 'CA file')).match(CERTIFICATE_BLOCKS) ?? [];
  if (blocks.length === 0) {
    throw new QtunnelError(
      'CERT_INVALID',
      `The CA file ${file} holds no certificate in PEM form: give one with a BEGIN CERTIFICATE line.`,
    );
  }
  const certificates = blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw new QtunnelError('CERT_INVALID', `Certificate ${index + 1} in the CA file ${file} is damaged: copy the file again.`, {
        cause,
      });
    }
  });
  return { file, certificates };
}

/** Why a peer's certificates (DER, its own first) do not lead to one of `anchors`, as `untrustedReason` says it; null when they do. */
export function judgePath(
  chain: readonly Uint8Array[],
  anchors: readonly X509Certificate[],
  peer: { readonly host: string } | 'client',
): { readonly reason: string; readonly cause?: unknown } | null {
  try {
    const reason = untrustedReason(
      chain.map((der) => new X509Certificate(der)),
      anchors,
      peer,
    );
    return reason === null ? null : { reason };
  } catch (cause) {
    return { reason: 'it is damaged or in a form that cannot be read', cause };
  }
}

const CERTIFICATE_BLOCKS = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
