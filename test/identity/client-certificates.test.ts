import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { clientJudge } from '../../src/identity/client-certificates.ts';
import { loadClientIdentity } from '../../src/identity/client-identity.ts';
import { fingerprint } from '../../src/identity/fingerprint.ts';
import { nobodysKeys } from '../../src/quic/nobody.ts';
import { temporaryFolder } from '../support/files.ts';
import { issueCertificate } from '../support/issue-certificate.ts';

const CA = issueCertificate({ name: 'ca', ca: true });
const OWN = issueCertificate({ name: 'own', issuer: CA, clientOnly: true });
const OTHER = issueCertificate({ name: 'other', issuer: CA, clientOnly: true });
const NOBODYS = new Uint8Array(new X509Certificate(nobodysKeys().certificatePem).raw);
const clients = [
  { name: 'laptop', fingerprints: ['0'.repeat(64), fingerprint(OWN.der)] },
  { name: 'phone', fingerprints: [] },
];

test('without fingerprints and authorities certificates mean nothing', async (t) => {
  t.equal(clientJudge({ clients: [{ name: 'phone', fingerprints: [] }], authorities: null }), null);
});

test('a known certificate gives its client the name, and goes with no other', async (t) => {
  const judge = clientJudge({ clients, authorities: null })!;
  t.same(judge('', [OWN.der]), { client: 'laptop', problem: null });
  t.same(judge('laptop', [OWN.der]), { client: 'laptop', problem: null });
  t.match(judge('phone', [OWN.der]), { client: 'laptop', problem: /not that of the client phone/ });
  for (const shown of [[], [NOBODYS], [OTHER.der], [OTHER.der, OWN.der], [Buffer.from('garbage')]])
    t.match(judge('laptop', shown), { client: 'laptop', problem: /has to show its own certificate/ });
  for (const shown of [[], [NOBODYS], [OTHER.der]]) {
    t.same(judge('phone', shown), { client: 'phone', problem: null });
    t.same(judge('', shown), { client: '', problem: null });
  }
});

test('with an authority everybody needs a certificate that it has signed, or one that is known', async (t) => {
  const judge = clientJudge({ clients, authorities: [CA.certificate] })!;
  const stranger = issueCertificate({ name: 'stranger', clientOnly: true });
  t.same(judge('', [OTHER.der]), { client: '', problem: null });
  t.same(judge('phone', [OTHER.der]), { client: 'phone', problem: null });
  t.match(judge('laptop', [OTHER.der]), { problem: /has to show its own/ }, 'it has a certificate of its own');
  t.same(judge('', [OWN.der]), { client: 'laptop', problem: null });
  for (const shown of [[], [NOBODYS]]) t.match(judge('phone', shown), { problem: /wants a certificate of the client/ });
  t.match(judge('', [stranger.der]), { problem: /does not hold against -client-ca/ });
  t.match(judge('', [stranger.der, OTHER.der, CA.der]), { problem: /does not hold against -client-ca/ });
  t.match(judge('', [Buffer.from('garbage')]), { problem: /damaged/ });
});

test('keys that QUIC does not take are refused when they are read', async (t) => {
  const { certificatePem, privateKeyPem } = nobodysKeys();
  t.equal((await load(certificatePem, privateKeyPem))?.keys.fingerprint, fingerprint(NOBODYS), 'ECDSA on P-256');
  await t.rejects(load(ED25519_CERTIFICATE, ED25519_KEY), { code: 'CERT_INVALID', message: /of a kind that QUIC does not take/ });
  await t.rejects(loadClientIdentity('a.crt', null), { code: 'CONFIG_INVALID' });
  t.equal(await loadClientIdentity(null, null), null);

  function load(certificate: string, key: string) {
    const folder = temporaryFolder(t);
    const [certFile, keyFile] = [join(folder, 'a.crt'), join(folder, 'a.key')];
    writeFileSync(certFile, certificate);
    writeFileSync(keyFile, key, { mode: 0o600 });
    return loadClientIdentity(certFile, keyFile);
  }
});

const ED25519_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBLjCB4aADAgECAhRf8RNfpYyVa5lM0xVydn21NS3x5jAFBgMrZXAwDDEKMAgG
A1UEAwwBZTAgFw0yNjExMjExNDUyNTNaGA8yMTI2MTAyODE0NTI1M1owDDEKMAgG
A1UEAwwBZTAqMAUGAytlcAMhAAX+gX7V5r1o0LoE8n6hMqAenPjuuIbKmEDTLunM
f969o1MwUTAdBgNVHQ4EFgQU4rMa1gxTW/0LEiGx4CpdwrjRhBcwHwYDVR0jBBgw
FoAU4rMa1gxTW/0LEiGx4CpdwrjRhBcwDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXAD
QQBaWNRZTNm9EzvrWAhlylwUj3SCAfx3EEBN0Iu1BiWi87X4ZFv1vQ2/0HLAFY6D
JrxoMiALKxUrYsMjsmf2b7UP
-----END CERTIFICATE-----
`;
const ED25519_KEY = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEID5giFFjvWrxp0x4/v3QSQE0TdyFv2V1NThYrp++Vcvl
-----END PRIVATE KEY-----
`;
