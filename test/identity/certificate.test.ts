import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import tap, { test } from 'tap';
import { createCertificate, newCertificate } from '../../src/identity/certificate.ts';
import { closeWorkers } from '../../src/identity/workers.ts';

tap.teardown(closeWorkers);

const pair = await createCertificate({
  hosts: ['Tunnel.Example.org.', '*.example.net', 'bücher.example', '192.0.2.7', '[2001:DB8::0:7]', '::ffff:192.0.2.8'],
});
const certificate = new X509Certificate(pair.certificate);
const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

test('it is for this machine and for the hosts asked for', async (t) => {
  for (const name of ['localhost', hostname(), 'tunnel.example.org', 'www.example.net', 'xn--bcher-kva.example']) {
    t.ok(certificate.checkHost(name, { subject: 'never' }), name);
  }
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  for (const ip of ['127.0.0.1', '::1', '192.0.2.7', '2001:db8::7', '::ffff:c000:208', ...own]) t.ok(certificate.checkIP(ip), ip);
  t.notOk(certificate.checkHost('example.org'));
});

test('it is valid since an hour ago and for ten years', async (t) => {
  const now = Date.now();
  t.ok(Math.abs(now - Date.parse(certificate.validFrom) - 3600_000) < 600_000);
  t.ok(Math.abs(Date.parse(certificate.validTo) - now - 3650 * 24 * 3600_000) < 600_000);
});

test('dates after 2049 hold', async (t) => {
  const late = new X509Certificate(await newCertificate(pair.privateKey, { days: 36_500 }));
  t.ok(Math.abs(Date.parse(late.validTo) - Date.now() - 36_500 * 24 * 3600_000) < 600_000);
});

test('the serial has 128 bits, is positive and differs each time', async (t) => {
  const serials = [certificate.serialNumber];
  for (let count = 0; count < 8; count += 1) {
    serials.push(new X509Certificate(await newCertificate(pair.privateKey)).serialNumber);
  }
  for (const serial of serials) t.match(serial, /^[4-7][\dA-F]{31}$/);
  t.equal(new Set(serials).size, serials.length);
});

test('wrong hosts and days are refused', async (t) => {
  for (const host of ['', 'a b', 'host:9001', '-a.example', 'a..b', '1.2.3.4.5:6', `${'a'.repeat(64)}.example`, '*']) {
    await t.rejects(createCertificate({ hosts: [host] }), { code: 'CONFIG_INVALID' }, host);
  }
  for (const days of [0, -1, 1.5, 36_501, Number.NaN]) {
    await t.rejects(createCertificate({ days }), { code: 'CONFIG_INVALID' }, String(days));
  }
});

test('openssl reads and verifies it', { skip: !hasOpenssl && 'openssl is not installed' }, async (t) => {
  const file = join(t.testdir(), 'server.crt');
  writeFileSync(file, pair.certificate);
  t.match(
    execFileSync('openssl', ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', file, file], { encoding: 'utf8' }),
    /: OK/,
  );
  const text = execFileSync('openssl', ['x509', '-in', file, '-noout', '-text'], { encoding: 'utf8' });
  t.match(text, /Public-Key: \(2048 bit\)/);
  t.match(text, /Signature Algorithm: sha256WithRSAEncryption/);
  t.match(text, /Basic Constraints: critical\s+CA:FALSE/);
  t.match(text, /Key Usage: critical\s+Digital Signature, Key Encipherment/);
  t.match(text, /Extended Key Usage:\s+TLS Web Server Authentication/);
});

test('a TLS 1.3 server and a client that trusts it agree', async (t) => {
  const server = createServer({ cert: pair.certificate, key: pair.privateKey, minVersion: 'TLSv1.3' }, (socket) =>
    socket.end('hello'),
  );
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client: TLSSocket = connect({ port, host: '127.0.0.1', ca: pair.certificate });
  const [data] = (await once(client, 'data')) as [Buffer];
  t.equal(data.toString(), 'hello');
  t.ok(client.authorized);
  client.destroy();
});
