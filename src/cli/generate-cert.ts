import { findFlag } from '../config/flags.ts';
import type { Layer } from '../config/layer.ts';
import { defaultOf, lookUp } from '../config/settle.ts';
import { QtunnelError } from '../errors.ts';
import { formatFingerprint } from '../identity/fingerprint.ts';
import { generateCertificateFiles } from '../identity/generate.ts';

/**
 * `-generate-cert`: writes certificate and key.
 * @returns what to tell the user.
 * @throws QtunnelError `USAGE` for flags that mean nothing here, and what `generateCertificateFiles` throws.
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

/**
 * Refuses what the command line cannot mean: flags of a tunnel beside `-generate-cert`, and flags of a certificate without it.
 * @throws QtunnelError `USAGE`
 */
export function refuseMisplaced(commandLine: Layer): void {
  const generates = lookUp([commandLine], 'generate-cert') ?? false;
  for (const [name, { where, value }] of commandLine.values) {
    if (generates && !OF_GENERATION.has(name) && !name.startsWith('log') && value !== false) {
      throw new QtunnelError(
        'USAGE',
        `${where} means nothing with -generate-cert, which writes a certificate and exits: leave one of them out`,
      );
    }
    if (!generates && ONLY_OF_GENERATION.has(name) && value !== false) {
      throw new QtunnelError('USAGE', `${where} is for -generate-cert: add it, or leave ${where} out`);
    }
  }
}

const ONLY_OF_GENERATION: ReadonlySet<string> = new Set(['cert-host', 'cert-days', 'force']);
const OF_GENERATION: ReadonlySet<string> = new Set([...ONLY_OF_GENERATION, 'generate-cert', 'cert-file', 'key-file']);
