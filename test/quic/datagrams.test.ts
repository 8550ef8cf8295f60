import { createHash } from 'node:crypto';
import { type Test, test } from 'tap';
import type { Link } from '../../src/link/link.ts';
import { packetForm } from '../../src/protocol/connection-id.ts';
import { connectQuic } from '../../src/quic/connect.ts';
import { environmentFor, type QuicEnvironment } from '../../src/quic/environment.ts';
import { listenQuic } from '../../src/quic/listen.ts';
import { batchUdp } from '../../src/udp/batch.ts';
import { openDgram } from '../../src/udp/dgram.ts';
import type { OpenUdp, UdpSocket } from '../../src/udp/socket.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { eventually, withDeadline } from '../support/deadline.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { connectOptions, newKeys, OVER, quicOptions, REQUEST, World } from './pair.ts';
import { RawClient } from './raw-client.ts';

const openBatch = batchUdp();
const needsBatch = { skip: openBatch === null && 'koffi is not installed, or this is not 64-bit Linux' };

/** What one side sent. */
interface Traffic {
  shards: number;
  datagrams: number;
  /** Bytes of the largest datagram, and of the largest shard. */
  largest: number;
  largestShard: number;
}

/** Counts the datagrams that leave its sockets. */
function counted(open: OpenUdp): { environment: QuicEnvironment; traffic: Traffic } {
  const traffic: Traffic = { shards: 0, datagrams: 0, largest: 0, largestShard: 0 };
  const openUdp: OpenUdp = async (options) => {
    const socket = await open(options);
    const send = socket.send.bind(socket);
    socket.send = (length, segment, to) => {
      for (let at = 0; at < length; at += segment) {
        traffic.datagrams++;
        const size = Math.min(segment, length - at);
        traffic.largest = Math.max(traffic.largest, size);
        if (socket.sendBuffer[at] !== 0x20) continue;
        traffic.shards++;
        traffic.largestShard = Math.max(traffic.largestShard, size);
      }
      send(length, segment, to);
    };
    return socket satisfies UdpSocket;
  };
  return { environment: { ...environmentFor('dgram'), openUdp }, traffic };
}

async function linked(t: Test, client: QuicEnvironment, server: QuicEnvironment): Promise<[LinkRecorder, LinkRecorder]> {
  const listener = await listenQuic({ host: '127.0.0.1', port: 0 }, newKeys(), quicOptions(), server);
  const accepted = new Promise<Link>((resolve) => (listener.onLink = resolve));
  const target = { host: '127.0.0.1', port: listener.address.port, serverName: 'localhost' };
  const link = await connectQuic(target, connectOptions(), new AbortController().signal, client);
  const links: [Link, Link] = [link, await withDeadline(accepted, () => 'the server’s link')];
  t.teardown(async () => {
    for (const each of links) each.close(OVER);
    await listener.close();
  });
  return [new LinkRecorder(links[0]), new LinkRecorder(links[1])];
}

/** Bytes that no part of is like another, sent on a stream of their own and compared with what arrives. */
async function transfer(from: LinkRecorder, to: LinkRecorder): Promise<boolean> {
  const sender = new StreamRecorder(from.link.open(REQUEST));
  const { recorder: receiver } = await to.accept();
  for (let block = 0; block < BLOCKS; block++) await sender.write(numbered(block));
  sender.stream.end();
  receiver.stream.end();
  await receiver.end();
  const expected = createHash('sha256');
  for (let block = 0; block < BLOCKS; block++) expected.update(numbered(block));
  return createHash('sha256').update(receiver.bytes).digest('hex') === expected.digest('hex');
}

function numbered(block: number): Uint8Array {
  BLOCK.fill(block, 0, 4);
  return BLOCK;
}

const BLOCK = randomBytes(seededRandom(1), 1_000_003);
const BLOCKS = 50;

for (const [name, atClient, atServer] of [
  ['batches at both ends', openBatch, openBatch],
  ['batches against dgram', openBatch, openDgram],
  ['dgram against batches', openDgram, openBatch],
  ['dgram at both ends', openDgram, openDgram],
] as const) {
  test(`50 MB each way through real sockets: ${name}`, atClient === null || atServer === null ? needsBatch : {}, async (t) => {
    const [here, there] = [counted(atClient!), counted(atServer!)];
    const [client, server] = await linked(t, here.environment, there.environment);
    const sides = [
      [here, atClient],
      [there, atServer],
    ] as const;
    // Loopback carries all that is probed. A full receive buffer would drop a probe as well, so nothing else is sent meanwhile.
    for (const [{ traffic }, open] of sides)
      if (open === openBatch) await eventually('a probe of 16,411 bytes', () => traffic.largest === 16_411);
    t.ok(await transfer(client, server), 'up');
    t.ok(await transfer(server, client), 'down');
    for (const [{ traffic }, open] of sides) {
      t.ok(traffic.shards > traffic.datagrams / 2, `${traffic.shards} shards of ${traffic.datagrams} datagrams`);
      // `dgram` cannot probe.
      t.equal(traffic.largest, open === openDgram ? 1_350 : 16_411);
      t.equal(traffic.largestShard, open === openDgram ? 1_350 : 16_411);
    }
  });
}

test('a peer that takes no blocks gets none, and all its bytes', async (t) => {
  // Slow enough that the sender looks at the path meanwhile: a peer that takes blocks gets them here.
  const world = new World(1, { delay: 5 });
  await world.listen();
  const raw = await RawClient.greet(world, 4 << 20);
  const sent: number[] = [];
  world.network.onSend = (bytes, from) => {
    if (!from.isClient) sent.push(bytes.length);
    if (packetForm(bytes[0]!) === 'shard') sent.push(Infinity);
  };
  const bytes = randomBytes(seededRandom(2), 3_000_000);
  const sender = new StreamRecorder(world.links[0]!.link.open(REQUEST));
  // The first QUIC stream that a server may use.
  const quicStream = 3;
  const writing = sender.write(bytes);
  const received: Uint8Array[] = [];
  const into = new Uint8Array(65_536);
  let length = 0;
  await world.drive(() => {
    for (const id of raw.native.readable()) {
      if (id !== quicStream) continue;
      for (let read = raw.native.streamRecv(id, into); read !== null; read = raw.native.streamRecv(id, into)) {
        received.push(into.slice(0, read[0]));
        length += read[0];
      }
    }
    raw.flush();
    return length >= bytes.length;
  }, 'all bytes');
  await writing;
  t.ok(Buffer.concat(received).equals(bytes));
  t.ok(sent.length > 2_000 && Math.max(...sent) <= 1_350, 'plain datagrams only');
  world.links[0]!.link.close(OVER);
});
