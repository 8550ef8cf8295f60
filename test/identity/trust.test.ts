import { createServer, connect } from 'node:tls';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'tap';
import { fingerprint, formatFingerprint } from '../../src/identity/fingerprint.ts';
import { TrustPolicy, type TrustSettings } from '../../src/identity/trust.ts';
import { issueCertificate } from '../support/issue-certificate.ts';

const ca = issueCertificate({ name: 'CA', ca: true });
const server = issueCertificate({ name: 'server', issuer: ca, hosts: ['tunnel.example', '192.0.2.1'] });
const stranger = issueCertificate({ name: 'stranger', hosts: ['tunnel.example'] });
const pin = fingerprint(server.der);

const load = (settings: Partial<TrustSettings>) =>
  TrustPolicy.load({ secret: null, pin: null, caFile: null, insecure: false, knownHosts: '/nowhere/known_hosts', ...settings });

test('with a secret every certificate will do, and nothing is remembered', async (t) => {
  const policy = await load({ secret: 'S' });
  const result = policy.check([stranger.der], 'tunnel.example', 9001);
  t.same(result, { firstUse: false, fingerprint: fingerprint(stranger.der), warnings: [] });
});

test('a pin must match, with a secret too', async (t) => {
  for (const secret of [null, 'S']) {
    const policy = await load({ secret, pin });
    t.equal(policy.check([server.der], 'any', 1).firstUse, false);
    t.throws(() => policy.check([stranger.der], 'any', 1), {
      code: 'PIN_MISMATCH',
      message: new RegExp(`${formatFingerprint(fingerprint(stranger.der))}.*${formatFingerprint(pin)}`),
    });
  }
});

test('a CA file must hold, with a secret and a pin too', async (t) => {
  const caFile = join(t.testdir({ 'ca.pem': ca.certificate }), 'ca.pem');
  for (const settings of [{}, { secret: 'S' }, { pin }]) {
    const policy = await load({ caFile, ...settings });
    t.equal(policy.check([server.der], 'tunnel.example', 1).fingerprint, pin);
    t.throws(() => policy.check([server.der], 'other.example', 1), { code: 'CERT_UNTRUSTED' });
  }
  const both = await load({ caFile, pin: fingerprint(stranger.der) });
  t.throws(() => both.check([server.der], 'tunnel.example', 1), { code: 'PIN_MISMATCH' });
  t.throws(() => both.check([stranger.der], 'tunnel.example', 1), { code: 'CERT_UNTRUSTED' });
});

test('a CA file that holds no certificates is refused', async (t) => {
  const directory = t.testdir({ empty: '', damaged: ca.certificate.replace(/\n[\s\S]{40}/, '\n'), key: ca.privateKey });
  for (const [name, code] of [
    ['none', 'FILE_UNREADABLE'],
    ['empty', 'CERT_INVALID'],
    ['damaged', 'CERT_INVALID'],
    ['key', 'CERT_INVALID'],
  ]) {
    await t.rejects(load({ caFile: join(directory, name!) }), { code, message: name });
  }
});

test('a server without a certificate or with garbage is refused', async (t) => {
  const caFile = join(t.testdir({ 'ca.pem': ca.certificate }), 'ca.pem');
  for (const settings of [{ caFile }, { secret: 'S' }, { pin }]) {
    const policy = await load(settings);
    t.throws(() => policy.check([], 'any', 1), { code: 'CERT_UNTRUSTED', message: /no certificate/ });
  }
  const policy = await load({ caFile });
  t.throws(() => policy.check([new Uint8Array(50)], 'any', 1), { code: 'CERT_UNTRUSTED', message: /damaged/ });
  t.throws(() => policy.check([server.der, new Uint8Array(50)], 'tunnel.example', 1), {
    code: 'CERT_UNTRUSTED',
    message: /damaged/,
  });
});

test('insecure accepts everything and says what it skips', async (t) => {
  t.match(await insecureWarnings({}), /^-insecure:.*not checked;.*anybody/);
  t.match(await insecureWarnings({ pin, caFile: '/nowhere' }), /-pin and -ca-file ignored/);
  t.match(await insecureWarnings({ pin, secret: 'S' }), /-pin ignored.*only the secret/);
  t.equal(await insecureWarnings({ secret: 'S' }), '');
});

test('first use is remembered, a changed certificate refused', async (t) => {
  const knownHosts = join(t.testdir(), 'config', 'known_hosts');
  const policy = await load({ knownHosts });
  t.same(policy.check([server.der], 'tunnel.example', 9001), { firstUse: true, fingerprint: pin, warnings: [] });
  t.equal(policy.check([server.der], 'tunnel.example', 9001).firstUse, false);
  t.equal((await load({ knownHosts })).check([server.der], 'tunnel.example', 9001).firstUse, false);
  t.throws(() => policy.check([stranger.der], 'tunnel.example', 9001), { code: 'CERT_CHANGED' });
});

test('it judges what a real TLS server shows', async (t) => {
  const caFile = join(t.testdir({ 'ca.pem': ca.certificate }), 'ca.pem');
  const policy = await load({ caFile });
  const listener = createServer({ cert: server.certificate, key: server.privateKey }, (socket) => socket.resume());
  t.teardown(() => listener.close());
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const client = connect({ port: (listener.address() as { port: number }).port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(client, 'secureConnect');
  const shown = client.getPeerCertificate().raw;
  client.destroy();
  t.equal(policy.check([shown], 'tunnel.example', 9001).fingerprint, pin);
  t.throws(() => policy.check([shown], '127.0.0.1', 9001), {
    code: 'CERT_UNTRUSTED',
    message: /not for 127\.0\.0\.1 but for .*tunnel\.example/,
  });
});

async function insecureWarnings(settings: Partial<TrustSettings>): Promise<string> {
  const policy = await load({ insecure: true, ...settings });
  return policy.check([stranger.der], 'any', 1).warnings.join('\n');
}
