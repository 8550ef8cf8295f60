import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { type Test, test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { FRAME, frame } from '../../src/protocol/frames.ts';
import { ALPN } from '../../src/protocol/handshake.ts';
import {
  decodeReset,
  encodeAttach,
  encodeFin,
  encodeGoAway,
  encodeOpen,
  SMALL_HEADER,
  writeSmall,
} from '../../src/protocol/messages.ts';
import { TlsConnection } from '../../src/tls/connection.ts';
import { hashCertificate } from '../../src/tls/context.ts';
import { ServerGreeting } from '../../src/tls/greeting.ts';
import { LinkRecorder } from '../link/recorder.ts';
import { eventually } from '../support/deadline.ts';
import { connectHere, linkOptions, serverKeys } from './pair.ts';

const TAG = '0000000000000001';

void test('a client that takes no streams ends a link whose server opens one', async (t) => {
  const { client, control } = await rawServer(t, false);
  control.send(opening(1));
  t.equal((await client.closed()).code, 'PROTOCOL_VIOLATION');
  t.equal(client.accepted.length, 0);
});

void test('what a server must not say of its streams ends the link', async (t) => {
  const wrong: [string, Uint8Array][] = [
    ['OPEN with a number of the client’s', opening(2)],
    ['OPEN twice', Buffer.concat([opening(1), opening(1)])],
    ['OPEN of an earlier one', Buffer.concat([opening(3), opening(1)])],
    ['SMALL on a stream that it has not opened', small(1, 'x')],
    ['SMALL on one that the client has not', small(2, 'x')],
    ['FIN twice', Buffer.concat([opening(1), encodeFin(1), encodeFin(1)])],
    ['SMALL after FIN', Buffer.concat([opening(1), encodeFin(1), small(1, 'x')])],
    ['more than was granted', Buffer.concat([opening(1), ...Array.from({ length: 17 }, () => small(1, 'x'.repeat(4000)))])],
    ['ATTACH', Buffer.concat([opening(1), encodeAttach(1, 0, false)])],
    ['READY', frame(FRAME.READY, new Uint8Array(0))],
  ];
  for (const [name, bytes] of wrong) {
    const { client, control } = await rawServer(t, true);
    client.options = { holding: true };
    control.send(bytes);
    t.equal((await client.closed()).code, 'PROTOCOL_VIOLATION', name);
    t.equal(client.link.streams, 0);
  }
});

void test('a server’s streams beyond the limit, or after its farewell, are reset, and nothing else is', async (t) => {
  const { client, control, resets } = await rawServer(t, true, 2);
  for (const id of [1, 3, 5]) control.send(opening(id));
  await eventually('the third to be refused', () => resets.length === 1);
  t.match(resets[0], { stream: 5, reason: 'LIMIT' });
  t.equal(client.link.streams, 2);
  control.send(encodeGoAway('no more'));
  control.send(opening(7));
  await eventually('the fourth to be refused', () => resets.length === 2);
  t.match(resets[1], { stream: 7, reason: 'SHUTDOWN' });
  t.equal(client.link.state, 'draining');
});

/** A server that says on the control connection of its only link what it is told to, and what the client resets. */
async function rawServer(t: Test, serverOpens: boolean, maxStreams = 1024) {
  const keys = await serverKeys();
  const options = linkOptions({ serverOpens: true, maxStreams: 1 });
  const certificate = hashCertificate(keys.certificateDer);
  const server = createServer({ key: keys.privateKeyPem, cert: keys.certificatePem, minVersion: 'TLSv1.3', ALPNProtocols: [ALPN] });
  const sockets: TLSSocket[] = [];
  const resets: ReturnType<typeof decodeReset>[] = [];
  const controls: TlsConnection[] = [];
  server.on('secureConnection', (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    const connection = new TlsConnection(socket, 'the client', 10_000);
    const onFrame = (type: number, payload: Uint8Array): void => {
      if (type === FRAME.RESET) resets.push(decodeReset(payload));
    };
    const admit = () => (): void => {
      connection.handler = { onFrame, onData() {}, onDrain() {}, onLost() {} };
      controls.push(connection);
    };
    connection.handler = new ServerGreeting(connection, options, { server: certificate, client: [] }, { admit, onFailure() {} });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const link = await connectHere((server.address() as AddressInfo).port, { serverOpens, maxStreams });
  t.teardown(() => link.close(new QtunnelError('LINK_CLOSED', 'The test is over.')));
  return { client: new LinkRecorder(link), control: controls[0]!, resets };
}

function opening(id: number): Uint8Array {
  return encodeOpen(id, TAG, '');
}

function small(id: number, text: string): Uint8Array {
  const bytes = new Uint8Array(SMALL_HEADER + text.length);
  return bytes.subarray(0, writeSmall(bytes, 0, id, Buffer.from(text)));
}
