import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { newCertificate } from '../../src/identity/certificate.ts';
import type { ClientEntry, TunnelSettings } from '../../src/config/settings.ts';
import { fingerprint } from '../../src/identity/fingerprint.ts';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { type Issued, issueCertificate } from '../support/issue-certificate.ts';
import { dial, echoes, echoServer, ending } from '../support/tcp.ts';
import { client, clientEntry, linkUp, MODES, OVER, reload, server } from './tunnels.ts';

const here = (port: number) => ({ host: '127.0.0.1', port });
const CA = issueCertificate({ name: 'our clients', ca: true });
const OURS = issueCertificate({ name: 'ours', issuer: CA, clientOnly: true });
const ANOTHER = issueCertificate({ name: 'another', issuer: CA, clientOnly: true });
const FOREIGN = issueCertificate({ name: 'ours', issuer: issueCertificate({ name: 'others', ca: true }), clientOnly: true });
const OF_A_SERVER = issueCertificate({ name: 'a server', issuer: CA });

for (const { name, ...mode } of MODES) {
  void test(`${name}: with -client-ca only clients with a certificate of that authority are let in, and others are told why`, async (t) => {
    const backend = here(await echoServer(t));
    const far = await server(t, { ...mode, backend, secret: null, clientCa: caFile(t, CA) });
    t.notOk(far.lines.some(({ msg }) => msg.includes('whoever reaches')));
    t.ok(far.lines.some(({ msg }) => msg.includes('-cert-file=FILE -key-file=FILE')));
    const trusting = { ...mode, secret: null, insecure: true };
    const near = await client(t, far.tunnel, { ...trusting, ...files(t, OURS) });
    t.ok(await echoes(await dial(t, near.port), 'hello'));
    const refused = [
      [{}, /wants a certificate of the client, and it showed none; give it -cert-file and -key-file/],
      [files(t, FOREIGN), /does not hold against -client-ca: its issuer "CN=others" is not in the CA file/],
      [files(t, OF_A_SERVER), /"CN=a server" is not meant for clients/],
    ] as const;
    for (const [given, message] of refused) {
      const stranger = await client(t, far.tunnel, { ...trusting, ...given });
      await eventually('it is refused', () => stranger.lines.some(({ event }) => event === 'link_failed'));
      t.match(
        stranger.lines.find(({ event }) => event === 'link_failed'),
        { code: 'AUTH_REJECTED', reason: message },
      );
      await stranger.tunnel.close(OVER);
    }
    t.equal(far.tunnel.links.length, 1);
  });

  void test(`${name}: certificate and secret are wanted both where both are set`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)), clientCa: caFile(t, CA) });
    const near = await client(t, far.tunnel, { ...mode, ...files(t, OURS) });
    t.ok(await echoes(await dial(t, near.port), 'hello'));
    const certificateAlone = await client(t, far.tunnel, { ...mode, secret: 'wrong', ...files(t, OURS) });
    await eventually('it is refused', () => far.metrics.handshakeFailures.get('AUTH_REJECTED') !== undefined);
    t.equal(certificateAlone.tunnel.uplink.current(), null);
    const secretAlone = await client(t, far.tunnel, mode);
    await eventually('it is refused', () => secretAlone.lines.some(({ reason }) => /showed none/.test(String(reason))));
  });

  void test(`${name}: a client is known by its certificate, others by their secrets; a reload changes who`, async (t) => {
    const backend = here(await echoServer(t));
    const clients = [entry('laptop', OURS), { ...entry('phone'), secret: 'of phone' }];
    const far = await server(t, { ...mode, backend, secret: null, clients });
    const laptop = await client(t, far.tunnel, { ...mode, secret: null, insecure: true, ...files(t, OURS) });
    const phone = await client(t, far.tunnel, { ...mode, secret: 'of phone', clientName: 'phone' });
    const [first, second] = [await dial(t, laptop.port), await dial(t, phone.port)];
    t.ok((await echoes(first, 'hello')) && (await echoes(second, 'hello')));
    t.same(far.tunnel.links.map((link) => link.client).toSorted(), ['laptop', 'phone']);
    await refused(t, far.tunnel, { ...mode, secret: 'of phone', clientName: 'laptop' }, /./);
    await refused(t, far.tunnel, { ...mode, ...UNPROVEN, ...files(t, ANOTHER) }, /neither a certificate that this server knows/);
    await refused(t, far.tunnel, { ...mode, ...UNPROVEN, ...files(t, ANOTHER), clientName: 'laptop' }, /SHA256:\S+ is not known/);
    await refused(t, far.tunnel, { ...mode, ...UNPROVEN, ...files(t, OURS), clientName: 'phone' }, /./);

    await reload(far.tunnel, { clients: [entry('laptop', ANOTHER), { ...entry('phone'), secret: 'of phone' }] });
    t.ok(await echoes(first, 'a link that is up stays up'));
    await refused(t, far.tunnel, { ...mode, ...UNPROVEN, ...files(t, OURS), clientName: 'laptop' }, /is not known/);
    await reload(laptop.tunnel, files(t, ANOTHER));
    t.ok(await echoes(await dial(t, laptop.port), 'with the new certificate'));

    await reload(far.tunnel, { clients: [{ ...entry('phone'), secret: 'of phone' }] });
    t.equal(await ending(first), 'reset');
    t.ok(await echoes(second, 'still here'));
  });

  void test(`${name}: certificates are asked for from a reload on`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)) });
    const near = await client(t, far.tunnel, mode);
    const open = await dial(t, near.port);
    t.ok(await echoes(open, 'hello'));
    await reload(far.tunnel, { clientCa: caFile(t, CA) });
    t.ok(await echoes(open, 'what is there stays'));
    await refused(t, far.tunnel, mode, /showed none/);
    const known = await client(t, far.tunnel, { ...mode, ...files(t, OURS) });
    t.ok(await echoes(await dial(t, known.port), 'hello'));
    await reload(far.tunnel, { clientCa: null });
    await linkUp(await client(t, far.tunnel, mode));
  });
}

void test('a certificate and key as -generate-cert makes them are good for a client', async (t) => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const made = { certificate: await newCertificate(pem), privateKey: pem };
  const clientCa = join(temporaryFolder(t), 'made.crt');
  writeFileSync(clientCa, made.certificate);
  const far = await server(t, { backend: here(await echoServer(t)), clientCa });
  const near = await client(t, far.tunnel, files(t, made));
  t.ok(await echoes(await dial(t, near.port), 'hello'));
});

const UNPROVEN = { secret: null, insecure: true };

async function refused(
  t: Test,
  to: Parameters<typeof client>[1],
  settings: Partial<TunnelSettings>,
  reason: RegExp,
): Promise<void> {
  const near = await client(t, to, settings);
  await eventually('it is refused', () => near.lines.some(({ event }) => event === 'link_failed'));
  t.match(
    near.lines.find(({ event }) => event === 'link_failed'),
    { code: 'AUTH_REJECTED', reason },
  );
  await near.tunnel.close(OVER);
}

function entry(name: string, certificate?: Issued): ClientEntry {
  return clientEntry(name, { secret: null, fingerprints: certificate ? [fingerprint(certificate.der)] : null });
}

function caFile(t: Test, { certificate }: Issued): string {
  const file = join(temporaryFolder(t), 'ca.crt');
  writeFileSync(file, certificate);
  return file;
}

function files(t: Test, { certificate, privateKey }: Pick<Issued, 'certificate' | 'privateKey'>) {
  const folder = temporaryFolder(t);
  const [certFile, keyFile] = [join(folder, 'client.crt'), join(folder, 'client.key')];
  writeFileSync(certFile, certificate);
  writeFileSync(keyFile, privateKey, { mode: 0o600 });
  return { certFile, keyFile };
}
