import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { QtunnelError } from '../errors.ts';
import { createCertificate, type KeyPair } from './certificate.ts';
import { errorCode, type StagedFile, stageFile } from './files.ts';
import { fingerprint } from './fingerprint.ts';

export interface GenerateOptions {
  readonly certFile?: string | null;
  readonly keyFile?: string | null;
  readonly hosts?: readonly string[];
  readonly days?: number;
  /** Overwrites files that are there. */
  readonly force?: boolean;
}

export interface GeneratedFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly fingerprint: string;
}

/**
 * What `-generate-cert` does: writes a new certificate and its key (mode 0600), by default to `server.crt` and `server.key`.
 * @throws QtunnelError `FILE_EXISTS` without `force`, `FILE_UNWRITABLE`, `CONFIG_INVALID` for wrong hosts or days.
 */
export async function generateCertificateFiles(options: GenerateOptions): Promise<GeneratedFiles> {
  const { hosts = [], days, force = false } = options;
  const certFile = options.certFile ?? 'server.crt';
  const keyFile = options.keyFile ?? 'server.key';
  if (resolve(certFile) === resolve(keyFile)) {
    throw new QtunnelError('CONFIG_INVALID', `-cert-file and -key-file are both ${certFile}: give two different names.`);
  }
  if (!force) for (const file of [keyFile, certFile]) if (existsSync(file)) throw fileExists(file);
  const pair = await createCertificate({ hosts, ...(days === undefined ? {} : { days }) });
  await writePair(pair, certFile, keyFile, force);
  return { certFile, keyFile, fingerprint: fingerprint(new X509Certificate(pair.certificate).raw) };
}

/** Both are staged before either is published, so that a directory that cannot be written leaves no key without its certificate. */
async function writePair(pair: KeyPair, certFile: string, keyFile: string, force: boolean): Promise<void> {
  const key = await stage(keyFile, pair.privateKey, 0o600);
  try {
    const certificate = await stage(certFile, pair.certificate, 0o644);
    try {
      await publish(key, keyFile, force);
      await publish(certificate, certFile, force);
    } finally {
      await certificate.discard();
    }
  } finally {
    await key.discard();
  }
}

async function stage(path: string, text: string, mode: number): Promise<StagedFile> {
  return await stageFile(path, text, mode).catch((cause: unknown) => {
    throw unwritable(path, cause);
  });
}

async function publish(file: StagedFile, path: string, force: boolean): Promise<void> {
  try {
    if (force) await file.replace();
    else if (!(await file.publish())) throw fileExists(path);
  } catch (cause) {
    throw cause instanceof QtunnelError ? cause : unwritable(path, cause);
  }
}

function fileExists(path: string): QtunnelError {
  return new QtunnelError(
    'FILE_EXISTS',
    `${path} is there already: give -force to overwrite it, or other names with -cert-file and -key-file.`,
  );
}

function unwritable(path: string, cause: unknown): QtunnelError {
  return new QtunnelError(
    'FILE_UNWRITABLE',
    `${path} cannot be written (${errorCode(cause)}): give a place that can be with -cert-file and -key-file.`,
    { cause },
  );
}
