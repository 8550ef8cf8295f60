import { createPrivateKey, hkdfSync, type KeyObject } from 'node:crypto';
import { dirname, join } from 'node:path';
import { QtunnelError } from '../errors.ts';
import { newCertificate, newPrivateKey } from './certificate.ts';
import { errorCode, makePrivateDirectory, type PrivateText, readPrivateText, removeIfUnchanged, stageFile } from './files.ts';
import { fingerprint } from './fingerprint.ts';
import { type ParsedPair, parsePair, periodOf } from './key-pair.ts';
import { readUserPair } from './user-pair.ts';

export interface ServerIdentityOptions {
  readonly certFile: string | null;
  readonly keyFile: string | null;
  /** Where the server keeps the certificate that it makes itself. */
  readonly stateDir: string;
}

/** Who the server is: what its transports show and what is derived from it. */
export interface ServerIdentity {
  /** The server's certificate and those that follow it in its file. */
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly privateKeyPem: string;
  readonly certificateDer: Uint8Array;
  /** SHA-256 of `certificateDer`: 64 lower-case hexadecimal digits. */
  readonly fingerprint: string;
  /** 32 bytes: docs/PROTOCOL.md, "Connection ids and restarts". */
  readonly nodeKey: Uint8Array;
  readonly validTo: Date;
  readonly warnings: readonly string[];
}

/**
 * The user's certificate and key, or without them the pair that the server keeps in `stateDir` as `server.crt` and `server.key`, made
 * when it is not there. Processes that start at once end up with the same pair.
 * @throws QtunnelError `CONFIG_INVALID` when only one file is given, `FILE_UNREADABLE`, `FILE_UNWRITABLE`, `CERT_INVALID`,
 *   `CERT_KEY_MISMATCH`, `CERT_EXPIRED` (for the user's certificate; the server's own is renewed, with a warning).
 */
export async function loadServerIdentity({ certFile, keyFile, stateDir }: ServerIdentityOptions): Promise<ServerIdentity> {
  if (certFile !== null && keyFile !== null) return await loadUserPair(certFile, keyFile);
  if (certFile === null && keyFile === null) return await loadOwnPair(stateDir);
  const [given, missing] = certFile === null ? ['-key-file', '-cert-file'] : ['-cert-file', '-key-file'];
  throw new QtunnelError('CONFIG_INVALID', `${given} is given without ${missing}: give both or neither.`);
}

async function loadUserPair(certFile: string, keyFile: string): Promise<ServerIdentity> {
  const { certificate, parsed, warnings } = await readUserPair(certFile, keyFile);
  return identityOf(certificate, parsed, warnings);
}

/**
 * Without a lock: the key is published by whoever is first, then a certificate for the key that is on the disk, again by whoever is
 * first. Whatever happens between these steps, the next process to come goes on from what is there.
 */
async function loadOwnPair(stateDir: string): Promise<ServerIdentity> {
  const certFile = join(stateDir, 'server.crt');
  const keyFile = join(stateDir, 'server.key');
  const { text: privateKey, warnings } = await readOrMake(keyFile, 'key file', 0o600, newPrivateKey);
  const loadPair = async () => {
    const certificate = await readOrMake(certFile, 'certificate', 0o644, () => certify(privateKey, certFile, keyFile));
    return { certificate: certificate.text, parsed: parseOwnPair(certificate.text, privateKey, certFile, keyFile) };
  };
  const kept = await loadPair();
  if (periodOf(kept.parsed.certificate) !== 'expired') return identityOf(kept.certificate, kept.parsed, warnings);

  await writing(certFile, () => removeIfUnchanged(certFile, kept.certificate));
  const renewed = await loadPair();
  return identityOf(renewed.certificate, renewed.parsed, [
    ...warnings,
    `The server's own certificate ${certFile} had expired and was renewed: clients that know the old fingerprint will refuse the new one.`,
  ]);
}

/**
 * The file; when there is none it is made, and what counts is what is there afterwards. That can be nothing once more, while another
 * process renews it.
 */
async function readOrMake(
  path: string,
  what: string,
  mode: number,
  make: () => Promise<string>,
  attempts = MAX_ATTEMPTS,
): Promise<PrivateText> {
  try {
    return await readPrivateText(path, what);
  } catch (error) {
    if (errorCode((error as Error).cause) !== 'ENOENT' || attempts === 0) throw error;
  }
  const text = await make();
  await writing(path, () => publish(path, text, mode));
  return await readOrMake(path, what, mode, make, attempts - 1);
}

async function publish(path: string, text: string, mode: number): Promise<void> {
  await makePrivateDirectory(dirname(path));
  const staged = await stageFile(path, text, mode);
  await staged.publish().finally(staged.discard);
}

async function writing(path: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (cause) {
    throw new QtunnelError(
      'FILE_UNWRITABLE',
      `The server cannot keep its certificate in ${dirname(path)} (${errorCode(cause)}): name a directory that can be written with ` +
        '-state-dir, or give a certificate of your own with -cert-file and -key-file.',
      { cause },
    );
  }
}

async function certify(privateKey: string, certFile: string, keyFile: string): Promise<string> {
  try {
    if (createPrivateKey(privateKey).asymmetricKeyType !== 'rsa') throw new Error('not an RSA key');
  } catch (cause) {
    throw new QtunnelError('CERT_INVALID', repair(certFile, keyFile), { cause });
  }
  return await newCertificate(privateKey);
}

function parseOwnPair(certificate: string, privateKey: string, certFile: string, keyFile: string): ParsedPair {
  try {
    return parsePair({ certificate, privateKey, certFile, keyFile });
  } catch (cause) {
    throw new QtunnelError((cause as QtunnelError).code, repair(certFile, keyFile), { cause });
  }
}

function repair(certFile: string, keyFile: string): string {
  return `${certFile} and ${keyFile} are damaged or do not belong together: delete both, and the server makes new ones.`;
}

function identityOf(certificatePem: string, { certificate, privateKey }: ParsedPair, warnings: readonly string[]): ServerIdentity {
  return {
    certificatePem,
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificateDer: certificate.raw,
    fingerprint: fingerprint(certificate.raw),
    nodeKey: deriveNodeKey(privateKey),
    validTo: new Date(certificate.validTo),
    warnings,
  };
}

function deriveNodeKey(privateKey: KeyObject): Uint8Array {
  const der = privateKey.export({ type: 'pkcs8', format: 'der' });
  return new Uint8Array(hkdfSync('sha256', der, NO_SALT, 'qtunnel/1 node key', NODE_KEY_BYTES));
}

const MAX_ATTEMPTS = 3;
const NO_SALT = new Uint8Array();
const NODE_KEY_BYTES = 32;
