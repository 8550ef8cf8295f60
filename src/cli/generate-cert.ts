import { findFlag } from '../config/flags.ts';
import type { Layer } from '../config/layer.ts';
import { defaultOf, lookUp } from '../config/settle.ts';
import { formatFingerprint } from '../identity/fingerprint.ts';
import { generateCertificateFiles } from '../identity/generate.ts';

/**
 * `-generate-cert`: writes certificate and key.
 * @returns what to tell the user.
 * @throws QtunnelError what `generateCertificateFiles` throws.
 */
export async function generateCertificate(layers: readonly Layer[]): Promise<string> {
  const days = lookUp(layers, 'cert-days') ?? Number(defaultOf(findFlag('cert-days')!));
  const made = await generateCertificateFiles({
    certFile: lookUp(layers, 'cert-file') ?? 'server.crt',
    keyFile: lookUp(layers, 'key-file') ?? 'server.key',
    hosts: lookUp(layers, 'cert-host') ?? [],
    days,
    force: lookUp(layers, 'force') ?? false,
  });
  return [
    `${made.certFile} and ${made.keyFile} are written; the key is for you alone.`,
    `Fingerprint  ${formatFingerprint(made.fingerprint)}`,
    `Server       qtunnel -cert-file=${made.certFile} -key-file=${made.keyFile} …`,
    `Client       qtunnel -clientmode -pin=${made.fingerprint} …`,
    '',
  ].join('\n');
}
