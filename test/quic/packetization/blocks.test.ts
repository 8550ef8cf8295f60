import { type Test, test } from 'tap';
import { BlockPacketizer } from '../../../src/quic/packetization/blocks.ts';
import { segmentOf } from '../../../src/quic/packetization/segment.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';
import { ID, packetOf } from '../../protocol/shards.ts';
import { datagramsOf, FakeUdp } from './fake-udp.ts';

const SIZE = 1_350;
const PAYLOAD = SIZE - 24;
const PEER = { host: '127.0.0.1', port: 2 };

const BYTES = packetOf(1, 20_000);

/** Two packetizers: what the one sends, the other receives when told to. */
class Pair {
  readonly udp = new FakeUdp();
  readonly sender: BlockPacketizer;
  readonly receiver: BlockPacketizer;
  /** What the receiver's packets were. */
  received: Uint8Array[] = [];
  readonly #payload: number;

  constructor(size = SIZE) {
    this.#payload = size - 24;
    this.sender = new BlockPacketizer(this.udp, size, () => {});
    this.receiver = new BlockPacketizer(new FakeUdp(), size, (packet) => this.received.push(Uint8Array.from(packet)));
  }

  static started(shards: number, size = SIZE): Pair {
    const pair = new Pair(size);
    pair.receiver.acceptBlocks();
    pair.sender.startBlocks(16, ID);
    pair.sender.handlePath({ rtt: 1, cwnd: shards * pair.#payload, sent: 1, lost: 0 });
    return pair;
  }

  /** What quiche would do. */
  send(packet: Uint8Array): void {
    const into = this.sender.packetBuffer();
    if (into.length < packet.length) throw new Error(`${packet.length} bytes do not fit ${into.length}`);
    into.set(packet);
    this.sender.push(packet.length, PEER);
  }

  /** The datagrams that went out since the last call. */
  flush(): Uint8Array[] {
    this.sender.flush();
    return this.udp.takeRuns().flatMap(datagramsOf);
  }

  deliver(datagrams: readonly Uint8Array[]): Uint8Array[] {
    this.received = [];
    for (const datagram of datagrams) {
      const input = new Uint8Array(datagram.length + 10).fill(0xdd);
      input.set(datagram, 3);
      this.receiver.handleDatagram(input, 3, datagram.length);
    }
    return this.received;
  }
}

/** A packet that begins as quiche's do. */
function quicPacket(seed: number, length: number): Uint8Array {
  const from = (seed * 17) % 1_000;
  const packet = BYTES.slice(from, from + length);
  packet.set(Uint8Array.of(0x40, ...ID).subarray(0, length));
  return packet;
}

/** Sends packets of these lengths in runs and checks that they arrive, in datagrams no larger than allowed. */
function carries(t: Test, pair: Pair, lengths: readonly number[], size: number, what: string): void {
  let wrong = 0;
  for (let at = 0; at < lengths.length; at += 50) {
    const packets = lengths.slice(at, at + 50).map((length) => quicPacket(length, length));
    for (const packet of packets) pair.send(packet);
    const datagrams = pair.flush();
    if (datagrams.some((datagram) => datagram.length > size)) wrong++;
    const received = pair.deliver(datagrams);
    if (received.length !== packets.length || !packets.every((packet, i) => Buffer.compare(packet, received[i]!) === 0)) wrong++;
  }
  t.equal(wrong, 0, what);
}

test('packets of every size come out as they went in, whatever the number of shards', async (t) => {
  for (let shards = 1; shards <= 12; shards++) {
    const pair = Pair.started(shards);
    const room = pair.sender.packetBuffer().length;
    t.equal(pair.sender.shards, shards);
    t.equal(room, shards === 1 ? SIZE : shards * PAYLOAD);
    // Every length at which something changes, and every length with the most shards.
    const step = shards === 12 ? 1 : 13;
    const edges = Array.from({ length: shards }, (_, i) => (i + 1) * PAYLOAD).flatMap((edge) => [edge - 1, edge, edge + 1]);
    const lengths = [...edges.filter((edge) => edge <= room), SIZE - 1, SIZE];
    for (let length = 1; length <= room; length += step) lengths.push(length);
    carries(t, pair, lengths, SIZE, `${shards} shards`);
  }
});

test('the largest packet there is', async (t) => {
  const size = 24 + 16_383 / 3;
  const pair = Pair.started(16, size);
  t.equal(pair.sender.shards, 3);
  carries(t, pair, [16_383, 16_382, size, size + 1, 1], size, '16,383 bytes in three shards');
});

test('plain packets and blocks of all sizes in one run', async (t) => {
  const random = seededRandom(3);
  const lengths = Array.from({ length: 3_000 }, () => {
    const kind = random();
    if (kind < 0.3) return SIZE;
    if (kind < 0.5) return PAYLOAD * integerBetween(random, 1, 12);
    return integerBetween(random, 1, kind < 0.7 ? SIZE : 12 * PAYLOAD);
  });
  carries(t, Pair.started(12), lengths, SIZE, '3,000 packets');
});

test('blocks whose last shard is full and plain full packets share a run; the kernel may join what it sends', async (t) => {
  const pair = Pair.started(12);
  const packets = [2, 12, 3].map((shards) => quicPacket(shards, shards * PAYLOAD));
  packets.splice(1, 0, quicPacket(1, SIZE), quicPacket(5, SIZE));
  for (const packet of packets) pair.send(packet);
  pair.send(quicPacket(9, 40));
  pair.sender.flush();
  const [run, ...more] = pair.udp.takeRuns();
  t.equal(more.length, 0, 'one run');
  const { bytes } = run!;
  const datagrams: Uint8Array[] = [];
  const step = segmentOf(bytes, 0, bytes.length);
  t.equal(step, SIZE);
  for (let at = 0; at < bytes.length; at += step) datagrams.push(bytes.subarray(at, at + step));
  t.same(pair.deliver(datagrams), [...packets, quicPacket(9, 40)]);
});

test('a change of the number of shards between two packets', async (t) => {
  const pair = Pair.started(12);
  const packets: Uint8Array[] = [];
  for (const shards of [12, 1, 5, 1, 1, 2, 12, 3]) {
    pair.sender.handlePath({ rtt: 1, cwnd: shards * PAYLOAD, sent: 1, lost: 0 });
    const packet = quicPacket(shards, pair.sender.packetBuffer().length);
    packets.push(packet);
    pair.send(packet);
  }
  t.same(pair.deliver(pair.flush()), packets);
});

test('shards are dropped before the peer has shown who it is; plain packets are not', async (t) => {
  const pair = Pair.started(12);
  const receiver = new BlockPacketizer(new FakeUdp(), SIZE, (packet) => pair.received.push(Uint8Array.from(packet)));
  const packets = [quicPacket(1, 5_000), quicPacket(2, 100)];
  for (const packet of packets) pair.send(packet);
  const datagrams = pair.flush();
  const take = (): void => datagrams.forEach((datagram) => receiver.handleDatagram(datagram, 0, datagram.length));
  take();
  t.same(pair.received, [packets[1]]);
  receiver.acceptBlocks();
  take();
  t.same(pair.received.slice(1), packets, 'nothing was kept of those that were dropped');
  receiver.close();
});

test('a side that may send blocks takes them', async (t) => {
  const pair = Pair.started(12);
  const other = new Pair();
  other.receiver.startBlocks(0, ID);
  pair.send(quicPacket(1, 5_000));
  t.same(other.deliver(pair.flush()), [quicPacket(1, 5_000)]);
});

test('no blocks to a peer that takes none, or that has no connection id to find it by', async (t) => {
  const figures = { rtt: 1, cwnd: 1e9, sent: 1, lost: 0 };
  for (const [peerShards, id] of [
    [0, ID],
    [1, ID],
    [-1, ID],
    [16, ID.subarray(1)],
    [16, new Uint8Array(0)],
  ] as const) {
    const { sender } = new Pair();
    sender.startBlocks(peerShards, id);
    sender.handlePath(figures);
    t.equal(sender.shards, 1);
    t.equal(sender.packetBuffer().length, SIZE, `${peerShards} shards, an id of ${id.length} bytes`);
  }
  for (const [peerShards, expected] of [
    [2, 2],
    [11, 11],
    [12, 12],
    [16, 12],
    [2 ** 53, 12],
  ] as const) {
    const { sender } = new Pair();
    t.equal(sender.packetBuffer().length, SIZE);
    sender.startBlocks(peerShards, ID);
    t.equal(sender.packetBuffer().length, SIZE, 'none before the path is known');
    sender.handlePath(figures);
    t.equal(sender.shards, expected);
  }
});

test('each block has an id of its own', async (t) => {
  const pair = Pair.started(12);
  for (let i = 0; i < 300; i++) pair.send(quicPacket(i, 2_000));
  const ids = pair.flush().map((datagram) => (datagram[21]! << 16) | (datagram[22]! << 8) | datagram[23]!);
  t.same(
    ids,
    Array.from({ length: 600 }, (_, i) => i >> 1),
  );
});
