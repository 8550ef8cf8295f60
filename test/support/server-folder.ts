import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatePrivateKey, makeCertificate } from '../../src/identity/make-certificate.ts';
import { temporaryFolder } from './files.ts';
import type { Owner } from './process.ts';

/** A state directory with the certificate that a server keeps there, the same for a whole test file: to make one takes a server as long as all the rest of its start. */
export function serverFolder(t: Owner): string {
  const folder = temporaryFolder(t);
  const { certificate, privateKey } = (made ??= make());
  writeFileSync(join(folder, 'server.key'), privateKey, { mode: 0o600 });
  writeFileSync(join(folder, 'server.crt'), certificate);
  return folder;
}

function make(): { certificate: string; privateKey: string } {
  const privateKey = generatePrivateKey();
  const certificate = makeCertificate({
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1', '::1'],
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    privateKey,
  });
  return { certificate, privateKey };
}

let made: ReturnType<typeof make> | null = null;
const DAY_MS = 24 * 3600 * 1000;
