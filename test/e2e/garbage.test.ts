import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect as connectTls } from 'node:tls';
import { test } from 'tap';
import type { Test } from 'tap';
import { startTunnel } from '../support/qtunnel.ts';
import { dial, echoes, echoServer, ending } from '../support/tcp.ts';

test('garbage on the UDP port disturbs nothing', async (t) => {
  const { port, server, client } = await startTunnel(t, 'quic', await echoServer(t));
  const before = await dial(t, port);
  t.ok(await echoes(before, 'before'));
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  for (const datagram of datagrams()) await sendDatagram(socket, datagram, server.port);

  t.ok(await echoes(before, 'the open connection goes on'));
  t.ok(await echoes(await dial(t, port), 'a new one opens'));
  t.same([...client.process.events('link_down'), ...server.process.events('link_down')], []);
  t.ok(server.process.lines.length < 200, 'the log is not flooded');
});

for (const mode of ['quic', 'tls'] as const) {
  test(`${mode}: garbage on the TCP port ends its own connection and disturbs nothing`, async (t) => {
    const { port, server, client } = await startTunnel(t, mode, await echoServer(t));
    const before = await dial(t, port);
    t.ok(await echoes(before, 'before'));

    for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), randomBytes(2000), TRUNCATED_CLIENT_HELLO]) {
      const socket = await dial(t, server.port);
      socket.end(bytes);
      t.match(await ending(socket), /fin|reset/, 'the server ends the connection');
    }
    t.equal(await tlsOutcome(t, server.port, ['h2'], Buffer.alloc(0)), 'refused', 'another ALPN');
    for (const [what, frames] of Object.entries(BAD_FRAMES))
      t.equal(await tlsOutcome(t, server.port, ['qtunnel/1'], frames), 'closed', what);

    t.ok(await echoes(before, 'the open connection goes on'));
    t.ok(await echoes(await dial(t, port), 'a new one opens'));
    t.same([...client.process.events('link_down'), ...server.process.events('link_down')], []);
  });
}

/** What a scanner, a stray program and a broken peer might send: no QUIC, and QUIC with something wrong. */
function datagrams(): Buffer[] {
  const initial = Buffer.concat([
    Buffer.from('c000000001', 'hex'),
    Buffer.from([16]),
    randomBytes(16),
    Buffer.from([8]),
    randomBytes(1170),
  ]);
  const unknownVersion = Buffer.from(initial);
  unknownVersion.writeUInt32BE(0x1a2a3a4a, 1);
  const shortHeaders = Array.from({ length: 200 }, () => Buffer.concat([Buffer.from([0x40]), randomBytes(60)]));
  const lengths = [1, 2, 7, 20, 100, 1200, 1472, 9000];
  return [
    initial,
    unknownVersion,
    initial.subarray(0, 30),
    ...shortHeaders,
    ...lengths.flatMap((length) => repeat(50, () => randomBytes(length))),
  ];
}

function repeat<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}

function sendDatagram(socket: ReturnType<typeof createSocket>, datagram: Buffer, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(datagram, port, '127.0.0.1', (error) => (error ? reject(error) : resolve()));
  });
}

/** Connects by TLS, sends these bytes, and tells how the server took it. */
async function tlsOutcome(t: Test, port: number, protocols: string[], bytes: Buffer): Promise<'refused' | 'closed'> {
  const socket = connectTls({ port, host: '127.0.0.1', ALPNProtocols: protocols, rejectUnauthorized: false });
  t.teardown(() => socket.destroy());
  let secured = false;
  socket.on('error', () => {});
  socket.on('secureConnect', () => {
    secured = true;
    socket.write(bytes);
  });
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  return secured ? 'closed' : 'refused';
}

function frame(type: number, payload: Buffer, length = payload.length): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt8(type, 0);
  header.writeUIntBE(length, 1, 3);
  return Buffer.concat([header, payload]);
}

const BAD_FRAMES = {
  'random bytes': Buffer.alloc(64, 0xee),
  'a frame longer than allowed': frame(0x01, Buffer.alloc(16), 0xffffff),
  'an unknown type': frame(0x7f, Buffer.alloc(3)),
  'data before HELLO': frame(0x11, Buffer.from('data')),
  'a stream before HELLO': frame(0x10, Buffer.alloc(9)),
  'a HELLO that ends too early': frame(0x01, Buffer.from([1, 2, 3])),
  'a HELLO of another version': frame(0x01, Buffer.concat([Buffer.from([9]), Buffer.alloc(24), Buffer.from([0, 0])])),
};

const TRUNCATED_CLIENT_HELLO = Buffer.from('1603010200010001fc0303', 'hex');
