import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import tap, { test } from 'tap';
import { fingerprint } from '../../src/identity/fingerprint.ts';
import { generateCertificateFiles } from '../../src/identity/generate.ts';
import { loadServerIdentity } from '../../src/identity/server-identity.ts';
import { closeWorkers } from '../../src/identity/workers.ts';

tap.teardown(closeWorkers);

test('it writes a pair that a server can load', async (t) => {
  const directory = t.testdir();
  const certFile = join(directory, 'a.crt');
  const keyFile = join(directory, 'a.key');
  const made = await generateCertificateFiles({ certFile, keyFile, hosts: ['tunnel.example'], days: 10 });
  const certificate = new X509Certificate(readFileSync(certFile));
  t.same(made, { certFile, keyFile, fingerprint: fingerprint(certificate.raw) });
  t.ok(certificate.checkHost('tunnel.example'));
  if (process.platform !== 'win32') t.equal(statSync(keyFile).mode & 0o777, 0o600);
  const identity = await loadServerIdentity({ certFile, keyFile, stateDir: directory });
  t.equal(identity.fingerprint, made.fingerprint);
  t.same(identity.warnings, []);
  t.same(readdirSync(directory).toSorted(), ['a.crt', 'a.key']);
});

test('it overwrites only by force', async (t) => {
  for (const name of ['server.crt', 'server.key']) {
    const directory = t.testdir({ [name]: 'precious' });
    const files = { certFile: join(directory, 'server.crt'), keyFile: join(directory, 'server.key') };
    await t.rejects(generateCertificateFiles(files), { code: 'FILE_EXISTS', message: name });
    t.same(readdirSync(directory), [name]);
    t.equal(readFileSync(join(directory, name), 'utf8'), 'precious');

    const { fingerprint: print } = await generateCertificateFiles({ ...files, force: true });
    t.equal((await loadServerIdentity({ ...files, stateDir: directory })).fingerprint, print);
  }
});

test('when one file cannot be written, neither is', async (t) => {
  const directory = t.testdir();
  const keyFile = join(directory, 'server.key');
  const certFile = join(directory, 'missing', 'server.crt');
  await t.rejects(generateCertificateFiles({ certFile, keyFile }), { code: 'FILE_UNWRITABLE', message: certFile });
  t.notOk(existsSync(keyFile));
  t.same(readdirSync(directory), []);
});

test('certificate and key are two files', async (t) => {
  const certFile = join(t.testdir(), 'server.pem');
  await t.rejects(generateCertificateFiles({ certFile, keyFile: certFile }), { code: 'CONFIG_INVALID' });
});
