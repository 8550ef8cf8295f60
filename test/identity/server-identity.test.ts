import { execFile } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, hkdfSync, X509Certificate } from 'node:crypto';
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import tap, { test } from 'tap';
import { createCertificate } from '../../src/identity/certificate.ts';
import { fingerprint } from '../../src/identity/fingerprint.ts';
import { loadServerIdentity, type ServerIdentity } from '../../src/identity/server-identity.ts';
import { closeWorkers } from '../../src/identity/workers.ts';
import { issueCertificate } from '../support/issue-certificate.ts';

tap.teardown(closeWorkers);

const windows = process.platform === 'win32';
const pair = await createCertificate();

interface Directory {
  testdir(content?: Record<string, string>): string;
}

function userFiles(t: Directory, certificate: string, privateKey: string) {
  const directory = t.testdir({ 'my.crt': certificate, 'my.key': privateKey });
  chmodSync(join(directory, 'my.key'), 0o600);
  return { certFile: join(directory, 'my.crt'), keyFile: join(directory, 'my.key'), stateDir: join(directory, 'state') };
}

const ownFiles = (stateDir: string) => ({ certFile: null, keyFile: null, stateDir });

test("the user's files", async (t) => {
  const options = userFiles(t, pair.certificate, pair.privateKey);
  const identity = await loadServerIdentity(options);
  const { raw, validTo } = new X509Certificate(pair.certificate);
  const key = createPrivateKey(pair.privateKey).export({ type: 'pkcs8', format: 'der' });
  t.equal(identity.certificatePem, pair.certificate);
  t.equal(identity.privateKeyPem, pair.privateKey);
  t.same(Buffer.from(identity.certificateDer), raw);
  t.equal(identity.fingerprint, fingerprint(raw));
  t.same(Buffer.from(identity.nodeKey), Buffer.from(hkdfSync('sha256', key, '', 'qtunnel/1 node key', 32)));
  t.equal(identity.validTo.getTime(), Date.parse(validTo));
  t.same(identity.warnings, []);
  t.notOk(readdirSync(join(options.certFile, '..')).includes('state'));
});

test('a chain keeps its order, a key of another form becomes PKCS#8', async (t) => {
  const ca = issueCertificate({ name: 'CA', ca: true });
  const server = issueCertificate({ name: 'server', issuer: ca });
  const pkcs1 = createPrivateKey(server.privateKey).export({ type: 'pkcs1', format: 'pem' }).toString();
  const identity = await loadServerIdentity(userFiles(t, server.certificate + ca.certificate, pkcs1));
  t.equal(identity.certificatePem, server.certificate + ca.certificate);
  t.equal(identity.privateKeyPem, server.privateKey);
  t.equal(identity.fingerprint, fingerprint(server.der));
});

test('wrong files are told apart', async (t) => {
  const otherKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
  const lockedKey = createPrivateKey(pair.privateKey)
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
    .toString();
  const der = new X509Certificate(pair.certificate).raw.toString('latin1');
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  const refusals: [string, string, string, RegExp][] = [
    ['garbage', pair.privateKey, 'CERT_INVALID', /my\.crt/],
    [broken, pair.privateKey, 'CERT_INVALID', /my\.crt/],
    [der, pair.privateKey, 'CERT_INVALID', /my\.crt/],
    [pair.privateKey, pair.privateKey, 'CERT_INVALID', /my\.crt/],
    [pair.certificate, 'garbage', 'CERT_INVALID', /my\.key/],
    [pair.certificate, pair.certificate, 'CERT_INVALID', /my\.key/],
    [pair.certificate, lockedKey, 'CERT_INVALID', /passphrase/],
    [pair.certificate, otherKey, 'CERT_KEY_MISMATCH', /my\.key.*my\.crt/],
  ];
  for (const [certificate, key, code, message] of refusals) {
    const error = await loadServerIdentity(userFiles(t, certificate, key)).catch((reason: unknown) => reason);
    t.match(error, { name: 'QtunnelError', code, message });
    t.notMatch((error as Error).message, 'PRIVATE KEY-----\n');
  }
  for (const [validFrom, validTo, message] of [
    [-2, -1, /expired/],
    [1, 2, /not yet valid/],
  ] as const) {
    const { certificate, privateKey } = issueCertificate({ name: 'server', validFrom, validTo });
    await t.rejects(loadServerIdentity(userFiles(t, certificate, privateKey)), { code: 'CERT_EXPIRED', message });
  }
});

test('missing files are told apart', async (t) => {
  const options = userFiles(t, pair.certificate, pair.privateKey);
  await t.rejects(loadServerIdentity({ ...options, keyFile: null }), {
    code: 'CONFIG_INVALID',
    message: /^-cert-file.*without -key-file/,
  });
  await t.rejects(loadServerIdentity({ ...options, certFile: null }), {
    code: 'CONFIG_INVALID',
    message: /^-key-file.*without -cert-file/,
  });
  await t.rejects(loadServerIdentity({ ...options, certFile: '/no/my.crt' }), { code: 'FILE_UNREADABLE', message: '/no/my.crt' });
  await t.rejects(loadServerIdentity({ ...options, keyFile: '/no/my.key' }), { code: 'FILE_UNREADABLE', message: '/no/my.key' });
});

test('a key file that others can read is reported', { skip: windows && 'Windows has no such modes' }, async (t) => {
  const options = userFiles(t, pair.certificate, pair.privateKey);
  chmodSync(options.keyFile, 0o640);
  const { warnings } = await loadServerIdentity(options);
  t.equal(warnings.length, 1);
  t.match(warnings[0], options.keyFile);
});

test('without files the server keeps its own', async (t) => {
  const stateDir = join(t.testdir(), 'deep', 'state');
  const made = await loadServerIdentity(ownFiles(stateDir));
  t.same(await loadServerIdentity(ownFiles(stateDir)), made);
  t.same(readdirSync(stateDir).toSorted(), ['server.crt', 'server.key']);
  t.equal(readFileSync(join(stateDir, 'server.key'), 'utf8'), made.privateKeyPem);
  t.same(made.warnings, []);
  if (windows) return;
  t.equal(statSync(stateDir).mode & 0o777, 0o700);
  t.equal(statSync(join(stateDir, 'server.key')).mode & 0o777, 0o600);
});

test('what is there is used without writing', async (t) => {
  const stateDir = t.testdir();
  const written = () => ['.', 'server.crt', 'server.key'].map((name) => statSync(join(stateDir, name), { bigint: true }).ctimeNs);
  await loadServerIdentity(ownFiles(stateDir));
  const before = written();
  await loadServerIdentity(ownFiles(stateDir));
  t.same(written(), before);
});

test('a state directory that cannot be made says what to do', async (t) => {
  const stateDir = join(t.testdir({ file: '' }), 'file', 'state');
  const error = await loadServerIdentity(ownFiles(stateDir)).catch((reason: unknown) => reason);
  t.match(error, { code: /^FILE_UN/, message: stateDir });
  const behindLoop = join(t.testdir({ dangling: t.fixture('symlink', 'nowhere/at/all') }), 'dangling');
  await t.rejects(loadServerIdentity(ownFiles(behindLoop)), { code: 'FILE_UNWRITABLE', message: /-state-dir.*-cert-file/ });
  // Below /proc the kernel says ENOENT however often one asks.
  if (process.platform === 'linux') await t.rejects(loadServerIdentity(ownFiles('/proc/nope/at/all')), { code: 'FILE_UNWRITABLE' });
});

test('with a secret a server does without a state directory, and finds the same pair when it looks again', async (t) => {
  const stateDir = join(t.testdir({ state: t.fixture('symlink', 'nowhere/at/all') }), 'state');
  await t.rejects(loadServerIdentity(ownFiles(stateDir)), { code: 'FILE_UNWRITABLE', message: /-secret-file/ });
  const withSecret = { ...ownFiles(stateDir), secret: 'a secret' };
  const made = await loadServerIdentity(withSecret);
  t.equal(made.warnings.length, 1);
  t.match(made.warnings[0], /another at each start.*-state-dir/);
  t.ok(made.validTo.getTime() > Date.now());
  t.same(await loadServerIdentity({ ...ownFiles(stateDir), secretFile: '/a/file' }), made, 'with a file as well');
  await t.rejects(loadServerIdentity(ownFiles(stateDir)), { code: 'FILE_UNWRITABLE' });

  rmSync(stateDir);
  const kept = await loadServerIdentity(withSecret);
  t.equal(kept.fingerprint, made.fingerprint, 'what is in use is kept as soon as it can be');
  t.same(kept.warnings, []);
  t.same(readdirSync(stateDir).toSorted(), ['server.crt', 'server.key']);
});

const mounts = process.platform === 'linux' && process.getuid?.() === 0;

test(
  'an expired certificate that cannot be renewed goes on being used',
  { skip: !mounts && 'a read-only mount needs root' },
  async (t) => {
    const expired = issueCertificate({ name: 'old', validFrom: -3, validTo: -2 });
    const stateDir = t.testdir({ 'server.crt': expired.certificate, 'server.key': expired.privateKey });
    chmodSync(join(stateDir, 'server.key'), 0o600);
    const run = promisify(execFile);
    await run('mount', ['--bind', stateDir, stateDir]);
    let identity: ServerIdentity;
    try {
      await run('mount', ['-o', 'remount,ro,bind', stateDir]);
      identity = await loadServerIdentity(ownFiles(stateDir));
    } finally {
      await run('umount', [stateDir]);
    }
    t.equal(identity.fingerprint, fingerprint(expired.der));
    t.match(identity.warnings, [/expired.*EROFS.*-ca-file/]);
  },
);

test('when a start was cut off between key and certificate, the next one goes on', async (t) => {
  const stateDir = t.testdir();
  const { privateKeyPem } = await loadServerIdentity(ownFiles(stateDir));
  rmSync(join(stateDir, 'server.crt'));
  t.equal((await loadServerIdentity(ownFiles(stateDir))).privateKeyPem, privateKeyPem);
});

test('a link to nowhere in place of the key is an error, not a loop', async (t) => {
  const stateDir = t.testdir({ 'server.key': t.fixture('symlink', 'nowhere') });
  await t.rejects(loadServerIdentity(ownFiles(stateDir)), { code: 'FILE_UNREADABLE', message: /server\.key/ });
});

test('damaged files say what to do', async (t) => {
  const other = issueCertificate({ name: 'other' });
  const ecKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const cases: [Record<string, string>, string][] = [
    [{ 'server.crt': pair.certificate, 'server.key': other.privateKey }, 'CERT_KEY_MISMATCH'],
    [{ 'server.crt': '', 'server.key': pair.privateKey }, 'CERT_INVALID'],
    [{ 'server.key': '' }, 'CERT_INVALID'],
    [{ 'server.key': ecKey }, 'CERT_INVALID'],
  ];
  for (const [files, code] of cases) {
    await t.rejects(loadServerIdentity(ownFiles(t.testdir(files))), { code, message: /server\.key.*delete both/ });
  }
});

test('an expired certificate of its own is renewed, with a warning', async (t) => {
  const expired = issueCertificate({ name: 'old', validFrom: -3, validTo: -2 });
  const stateDir = t.testdir({ 'server.crt': expired.certificate, 'server.key': expired.privateKey });
  chmodSync(join(stateDir, 'server.key'), 0o600);
  const renewed = await Promise.all([1, 2, 3, 4].map(() => loadServerIdentity(ownFiles(stateDir))));
  const kept = await loadServerIdentity(ownFiles(stateDir));
  for (const identity of renewed) {
    t.equal(identity.fingerprint, kept.fingerprint);
    t.ok(identity.validTo.getTime() > Date.now());
  }
  t.match(renewed[0]!.warnings, [/renewed/]);
  t.same(kept.warnings, []);
  t.same(readdirSync(stateDir).toSorted(), ['server.crt', 'server.key']);
});

test('processes that start at once end with the same pair', async (t) => {
  const directory = t.testdir();
  const module = new URL('../../src/identity/server-identity.js', import.meta.url).href;
  const script = join(directory, 'load.mjs');
  writeFileSync(
    script,
    `import { loadServerIdentity } from ${JSON.stringify(module)};
     const { fingerprint, privateKeyPem } = await loadServerIdentity({ certFile: null, keyFile: null, stateDir: process.argv[2] });
     console.log(fingerprint + privateKeyPem);`,
  );
  const stateDir = join(directory, 'state');
  const load = () => promisify(execFile)(process.execPath, [script, stateDir]);
  const outputs = await Promise.all([load(), load(), load()]);
  const kept = await loadServerIdentity(ownFiles(stateDir));
  for (const { stdout } of outputs) t.equal(stdout, `${kept.fingerprint}${kept.privateKeyPem}\n`);
  t.same(readdirSync(stateDir).toSorted(), ['server.crt', 'server.key']);
});
