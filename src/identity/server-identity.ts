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
  /** Whether clients know the server by a secret rather than by its certificate: then it does without a place for the certificate, if it has to. */
  readonly secret?: string | null;
  readonly secretFile?: string | null;
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
 * when it is not there. Processes that start at once end up with the same pair. Where it cannot be written, a server with a secret keeps it for as long as its process lives, with a warning.
 * @throws QtunnelError `CONFIG_INVALID` when only one file is given, `FILE_UNREADABLE`, `FILE_UNWRITABLE`, `CERT_INVALID`,
 *   `CERT_KEY_MISMATCH`, `CERT_EXPIRED` (for the user's certificate; the server's own is renewed, with a warning).
 */
export async function loadServerIdentity(options: ServerIdentityOptions): Promise<ServerIdentity> {
  const { certFile, keyFile, stateDir, secret = null, secretFile = null } = options;
  if (certFile !== null && keyFile !== null) return await loadUserPair(certFile, keyFile);
  if (certFile === null && keyFile === null) return await loadOwnPair(stateDir, secret !== null || secretFile !== null);
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
async function loadOwnPair(stateDir: string, hasSecret: boolean): Promise<ServerIdentity> {
  const certFile = join(stateDir, 'server.crt');
  const keyFile = join(stateDir, 'server.key');
  const key = await readOrMake(keyFile, 'key file', 0o600, hasSecret, newPrivateKey);
  const privateKey = key.text;
  const loadPair = async () => {
    const made = await readOrMake(certFile, 'certificate', 0o644, hasSecret, () => certify(privateKey, certFile, keyFile));
    // Everybody may read the certificate; that neither can be kept is said once.
    const warnings = [...key.warnings, ...new Set([...key.unkept, ...made.unkept])];
    return { certificate: made.text, parsed: parseOwnPair(made.text, privateKey, certFile, keyFile), warnings };
  };
  const kept = await loadPair();
  if (periodOf(kept.parsed.certificate) !== 'expired') return identityOf(kept.certificate, kept.parsed, kept.warnings);

  const problem = await writing(() => removeIfUnchanged(certFile, kept.certificate));
  // Whoever knows it by its fingerprint, or by a secret, does not look at its time.
  if (problem !== null) {
    const warning = `The server's own certificate ${certFile} has expired and cannot be renewed (${problem.reason}): clients with -ca-file refuse it.`;
    return identityOf(kept.certificate, kept.parsed, [...kept.warnings, warning]);
  }
  const renewed = await loadPair();
  return identityOf(renewed.certificate, renewed.parsed, [
    ...renewed.warnings,
    `The server's own certificate ${certFile} had expired and was renewed: clients that know the old fingerprint will refuse the new one.`,
  ]);
}

/**
 * The file; when there is none it is made, and what counts is what is there afterwards. That can be nothing once more, while another
 * process renews it. With `mayBeUnkept` what cannot be written is remembered instead.
 */
async function readOrMake(
  path: string,
  what: string,
  mode: number,
  mayBeUnkept: boolean,
  make: () => Promise<string>,
  attempts = MAX_ATTEMPTS,
): Promise<OwnText> {
  try {
    return { ...(await readPrivateText(path, what)), unkept: [] };
  } catch (error) {
    if (errorCode((error as Error).cause) !== 'ENOENT' || attempts === 0) throw error;
  }
  const text = UNKEPT.get(path) ?? (await make());
  const problem = await writing(() => publish(path, text, mode));
  if (problem !== null) {
    if (!mayBeUnkept) throw unwritable(path, problem);
    UNKEPT.set(path, text);
    return { text, warnings: [], unkept: [unkept(path, problem)] };
  }
  UNKEPT.delete(path);
  return await readOrMake(path, what, mode, mayBeUnkept, make, attempts - 1);
}

interface OwnText extends PrivateText {
  /** A warning when it could not be written; otherwise empty. */
  readonly unkept: readonly string[];
}

async function publish(path: string, text: string, mode: number): Promise<void> {
  await makePrivateDirectory(dirname(path));
  const staged = await stageFile(path, text, mode);
  await staged.publish().finally(staged.discard);
}

/** Why it cannot be written; null when it is. */
async function writing(write: () => Promise<void>): Promise<Problem | null> {
  try {
    await write();
    return null;
  } catch (cause) {
    return { cause, reason: errorCode(cause) };
  }
}

interface Problem {
  readonly cause: unknown;
  readonly reason: string;
}

function unwritable(path: string, { cause, reason }: Problem): QtunnelError {
  return new QtunnelError(
    'FILE_UNWRITABLE',
    `The server cannot keep its certificate in ${dirname(path)} (${reason}), and without a secret that is all by which clients know it: name a directory that can be written with ` +
      '-state-dir, give a certificate of your own with -cert-file and -key-file, or a secret with -secret-file.',
    { cause },
  );
}

function unkept(path: string, { reason }: Problem): string {
  return (
    `The server cannot keep its certificate in ${dirname(path)} (${reason}) and makes another at each start: clients know it by the secret, but those with -pin refuse it then, and all notice late that it was ` +
    'started again; name a directory that can be written with -state-dir.'
  );
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

/** What this process has made and could not write, by path: settings that are read again find the same. */
const UNKEPT = new Map<string, string>();
const MAX_ATTEMPTS = 3;
const NO_SALT = new Uint8Array();
const NODE_KEY_BYTES = 32;
