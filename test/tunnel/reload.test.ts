import dgram from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { issueCertificate } from '../support/issue-certificate.ts';
import { dial, echoes, echoServer, freePort, receiveAll } from '../support/tcp.ts';
import { client, linkUp, MODES, OVER, reload, server } from './tunnels.ts';

const here = (port: number) => ({ host: '127.0.0.1', port });

for (const { name, ...mode } of MODES) {
  void test(`${name}: settings of links count for new links; the port stays, and so do links and connections`, async (t) => {
    const port = await freePort();
    const far = await server(t, { ...mode, listen: here(port), backend: here(await echoServer(t)) });
    const near = await client(t, far.tunnel, mode);
    const old = await dial(t, near.port);
    t.ok(await echoes(old, 'before'));
    const link = near.tunnel.uplink.current();
    const lines = far.lines.filter(({ event }) => event === 'listening').length;
    // A stream of the old link may still be sent what was promised for the old buffer.
    await reload(far.tunnel, { buffer: 65_536, congestion: 'cubic', keepalive: 5_000, idleTimeout: 12_000, maxConnections: 3 });
    t.equal(far.tunnel.address.port, port);
    t.equal(far.lines.filter(({ event }) => event === 'listening').length, lines, 'nothing is opened');
    t.ok(await echoes(old, Buffer.alloc(300_000, 'a')));
    const again = await dial(t, near.port);
    t.ok(await echoes(again, Buffer.alloc(300_000, 'b')), 'a new connection on the old link');
    t.equal(near.tunnel.uplink.current(), link);
    const other = await client(t, far.tunnel, mode);
    t.ok(await echoes(await dial(t, other.port), Buffer.alloc(300_000, 'c')), 'a new link');
    t.equal(await ended(connect(other.port)), true, 'the new limit counts');
  });

  void test(`${name}: another listen address: connections go on, the old port becomes free, new ones come over the new port`, async (t) => {
    const [first, second] = [await freePort(), await freePort()];
    const far = await server(t, { ...mode, listen: here(first), backend: here(await echoServer(t)) });
    const near = await client(t, far.tunnel, mode);
    const old = await dial(t, near.port);
    t.ok(await echoes(old, 'before'));
    await reload(far.tunnel, { listen: here(second) });
    t.equal(far.tunnel.address.port, second);
    t.ok(await echoes(old, 'after'));
    await reload(near.tunnel, { backend: far.tunnel.address });
    t.ok(await echoes(await dial(t, near.port), 'new'));
    old.end();
    await receiveAll(old);
    await eventually('the old port to be free', () => canListen(first, mode.quic));
  });
}

void test('turning QUIC and TLS on and off at one address keeps the one that stays', async (t) => {
  const far = await server(t, { quic: true, fallback: false, backend: here(await echoServer(t)) });
  const { address } = far.tunnel;
  const quic = await client(t, far.tunnel, { quic: true, fallback: false });
  const overQuic = await dial(t, quic.port);
  t.ok(await echoes(overQuic, 'QUIC'));
  const link = quic.tunnel.uplink.current()!;

  await reload(far.tunnel, { fallback: true });
  t.strictSame(far.tunnel.address, address);
  const tls = await client(t, far.tunnel, { quic: false });
  const overTls = await dial(t, tls.port);
  t.ok(await echoes(overTls, 'TLS'));
  t.equal(quic.tunnel.uplink.current(), link, 'QUIC was not touched');

  await reload(far.tunnel, { quic: false });
  await eventually('the QUIC link to be drained', () => link.state === 'draining');
  t.ok(await echoes(overQuic, 'still'), 'what it carries goes on');
  t.ok(await echoes(await dial(t, tls.port), 'new'));
  t.notOk(await canListen(address.port, true), 'its port is in use until then');
  overQuic.destroy();
  await eventually('the UDP port to be free', () => canListen(address.port, true));

  await reload(far.tunnel, { quic: true, fallback: false });
  t.ok(await echoes(overTls, 'still'));
  // Its attempt to connect went to the listener that took nobody any more; a reload without a link tries at once.
  await reload(quic.tunnel, {});
  t.ok(await echoes(await dial(t, quic.port), 'QUIC again'));
  t.ok(await canListen(address.port, false), 'the TCP port is free');
});

void test('when the missing listener cannot be opened, everything stays as it was', async (t) => {
  const far = await server(t, { quic: false, backend: here(await echoServer(t)) });
  const near = await client(t, far.tunnel, { quic: false });
  const taken = await listenUdp(far.tunnel.address.port);
  t.teardown(() => taken());
  await t.rejects(reload(far.tunnel, { quic: true, maxConnections: 1, backend: here(1) }), { code: 'LISTEN_FAILED' });
  t.equal(far.tunnel.settings.quic, false);
  t.ok(await echoes(await dial(t, near.port), 'one'));
  t.ok(await echoes(await dial(t, near.port), 'two'));
});

void test('what was prepared and is not used leaves nothing behind', async (t) => {
  const far = await server(t, { quic: true, fallback: false, backend: here(await echoServer(t)) });
  const near = await client(t, far.tunnel, { quic: true, fallback: false });
  const [one, two] = [await freePort(), await freePort()];
  for (const tunnel of [far.tunnel, near.tunnel]) {
    const settings = { ...tunnel.settings, fallback: true, listen: here(tunnel === far.tunnel ? one : two) };
    (await tunnel.prepare(settings)).discard();
  }
  await eventually(
    'the ports to be free',
    async () => (await canListen(one, false)) && (await canListen(one, true)) && (await canListen(two, false)),
  );
  t.ok(await echoes(await dial(t, near.port), 'as before'));
});

void test('settings that come into effect after the end do not bring a tunnel back', async (t) => {
  const far = await server(t, { backend: here(await echoServer(t)) });
  const near = await client(t, far.tunnel);
  await linkUp(near);
  const [one, two] = [await freePort(), await freePort()];
  const changes = [
    await far.tunnel.prepare({ ...far.tunnel.settings, listen: here(one) }),
    await near.tunnel.prepare({ ...near.tunnel.settings, listen: here(two), backend: here(one) }),
  ];
  await Promise.all([far.tunnel.close(OVER), near.tunnel.close(OVER)]);
  for (const { takeEffect } of changes) takeEffect();
  await eventually(
    'the ports to be free',
    async () => (await canListen(one, false)) && (await canListen(one, true)) && (await canListen(two, false)),
  );
  t.equal(near.tunnel.uplink.open.size, 0);
});

void test('a client whose links would be made in the same way keeps its link', async (t) => {
  const far = await server(t, { backend: here(await echoServer(t)) });
  const folder = temporaryFolder(t);
  const secretFile = join(folder, 'secret');
  const caFile = join(folder, 'ca.pem');
  const authority = issueCertificate({ name: 'one', hosts: [] });
  writeFileSync(secretFile, 'the secret of the tests\n', { mode: 0o600 });
  writeFileSync(caFile, authority.certificate);
  const near = await client(t, far.tunnel, { secret: null, secretFile, insecure: true, caFile });
  const link = await linkUp(near);
  const old = await dial(t, near.port);
  const { port } = near;

  await reload(near.tunnel, { dialTimeout: 1_234, drainTimeout: 2_345, maxConnections: 2 });
  t.equal(near.tunnel.uplink.current(), link);
  await reload(near.tunnel, { listen: here(await freePort()) });
  t.equal(near.tunnel.uplink.current(), link);
  t.ok(await echoes(old, 'still here'));
  await t.rejects(dial(t, port), 'the old port is closed');
  t.ok(await echoes(await dial(t, near.tunnel.address!.port), 'the new one is open'));
  t.equal(await ended(connect(near.tunnel.address!.port)), true, 'the new limit counts');

  writeFileSync(secretFile, 'another secret\n');
  await reload(near.tunnel, {});
  t.equal(link.state, 'draining', 'the file has another secret now');
  t.ok(await echoes(old, 'still here'));
  await eventually('the server to refuse it', () => near.metrics.handshakeFailures.get('AUTH_REJECTED') === 1);
});

void test('another certificate authority in the same file is noticed', async (t) => {
  const far = await server(t, { backend: here(1) });
  const caFile = join(temporaryFolder(t), 'ca.pem');
  const own = readFileSync(join(far.tunnel.settings.stateDir, 'server.crt'));
  writeFileSync(caFile, own);
  const near = await client(t, far.tunnel, { caFile });
  const link = await linkUp(near);
  await reload(near.tunnel, {});
  t.equal(near.tunnel.uplink.current(), link);
  writeFileSync(caFile, issueCertificate({ name: 'other', hosts: [] }).certificate);
  await reload(near.tunnel, {});
  t.not(near.tunnel.uplink.current(), link);
  await eventually('the server not to be trusted', () => near.metrics.handshakeFailures.get('CERT_UNTRUSTED') === 1);
});

for (const { name, ...mode } of MODES) {
  void test(`${name}: connections that wait move to the new uplink`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)) });
    const near = await client(t, { address: here(await freePort()) }, { ...mode, dialTimeout: 600_000 });
    const application = await dial(t, near.port);
    await eventually('the connection', () => near.tunnel.connections === 1);
    await reload(near.tunnel, { backend: far.tunnel.address });
    t.ok(await echoes(application, 'there'));
  });

  void test(`${name}: bytes of links that were replaced stay in the totals, while they last and after`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)) });
    const near = await client(t, far.tunnel, mode);
    const application = await dial(t, near.port);
    t.ok(await echoes(application, Buffer.alloc(500_000)));
    const link = near.tunnel.uplink.current()!;
    const total = () => near.metrics.linkTotal(link.transport, 'bytesSent');
    const before = total();
    t.ok(before >= 500_000, `${before}`);
    await reload(near.tunnel, { keepalive: 9_999 });
    await eventually('the new link', () => near.tunnel.uplink.current() !== null);
    t.ok(total() >= before);
    t.ok(await echoes(application, Buffer.alloc(500_000)));
    t.ok(total() >= before + 500_000);
    application.end();
    await eventually('the old link to be closed', () => link.state === 'closed');
    t.ok(total() >= before + 500_000);
  });

  for (const end of ['client', 'server'] as const) {
    void test(`${name}: a ${end} that drains waits for its connections, the last bytes included, and then its port is free`, async (t) => {
      const far = await server(t, { ...mode, backend: here(await echoServer(t)) });
      const near = await client(t, far.tunnel, mode);
      const { address } = far.tunnel;
      const application = await dial(t, near.port);
      t.ok(await echoes(application, 'open'));
      const { tunnel } = end === 'client' ? near : far;
      const drained = tunnel.drain();
      t.ok(await echoes(application, 'goes on'));
      const answer = receiveAll(application);
      const words = Buffer.alloc(3_000_000, 'x');
      application.end(words);
      t.ok((await answer).equals(words));
      t.equal(await drained, true);
      const port = end === 'client' ? near.port : address.port;
      t.ok(await canListen(port, end === 'server' && mode.quic), 'the port is free at once');
    });

    void test(`${name}: a ${end} that may not drain long cuts off and says so`, async (t) => {
      const far = await server(t, { ...mode, backend: here(await echoServer(t)), drainTimeout: 50 });
      const near = await client(t, far.tunnel, { ...mode, drainTimeout: 50 });
      const application = await dial(t, near.port);
      t.ok(await echoes(application, 'open'));
      const reset = ended(application);
      t.equal(await (end === 'client' ? near : far).tunnel.drain(), false);
      t.ok(await reset);
      await eventually('nothing to be left', () => near.tunnel.connections === 0 && far.tunnel.connections === 0);
    });
  }

  void test(`${name}: a client that drains waits for a link that was replaced before`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)) });
    const near = await client(t, far.tunnel, mode);
    const application = await dial(t, near.port);
    t.ok(await echoes(application, 'open'));
    const link = near.tunnel.uplink.current()!;
    await reload(near.tunnel, { keepalive: 9_999 });
    application.end();
    t.equal(await near.tunnel.drain(), true);
    t.equal(link.state, 'closed');
    t.equal(near.tunnel.uplink.open.size, 0);
  });

  void test(`${name}: closing a client ends links that were replaced, whatever they carry`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)) });
    const near = await client(t, far.tunnel, mode);
    t.ok(await echoes(await dial(t, near.port), 'open'));
    const link = near.tunnel.uplink.current()!;
    await reload(near.tunnel, { keepalive: 9_999 });
    await near.tunnel.close(new QtunnelError('SHUTTING_DOWN', 'enough'));
    t.equal(link.state, 'closed');
  });
}

function connect(port: number): net.Socket {
  return net.connect(here(port));
}

/** It was reset, or ended otherwise. */
async function ended(socket: net.Socket): Promise<boolean> {
  socket.on('error', () => {}).resume();
  return await eventually('the end of a connection', () => socket.destroyed || socket.readableEnded);
}

async function canListen(port: number, udp: boolean): Promise<boolean> {
  try {
    await (udp ? listenUdp(port) : listenTcp(port)).then((close) => close());
    return true;
  } catch {
    return false;
  }
}

async function listenTcp(port: number): Promise<() => void> {
  const probe = net.createServer();
  await new Promise((resolve, reject) => probe.once('error', reject).listen({ ...here(port) }, resolve as () => void));
  return () => void probe.close();
}

async function listenUdp(port: number): Promise<() => void> {
  const probe = dgram.createSocket('udp4');
  await new Promise((resolve, reject) => probe.once('error', reject).bind({ address: '127.0.0.1', port }, resolve as () => void));
  return () => void probe.close();
}
