import { type Test, test } from 'tap';
import { hmacSha256 } from '../../../src/identity/secret.ts';
import type { Clock } from '../../../src/quic/clock.ts';
import { BlockPacketizer } from '../../../src/quic/packetization/blocks.ts';
import type { UdpAddress } from '../../../src/udp/socket.ts';
import { integerBetween, randomBytes, seededRandom } from '../../support/random.ts';
import { ID, packetOf } from '../../protocol/shards.ts';
import { datagramsOf, FakeUdp } from './fake-udp.ts';

const SIZE = 1_350;
const HEADER = 28;
const PAYLOAD = SIZE - HEADER;
const PEER = { host: '127.0.0.1', port: 2 };
const KEYS = { toPeer: new Uint8Array(32).fill(1), fromPeer: new Uint8Array(32).fill(2) };
const SHARD_KEYS = { toPeer: new Uint8Array(32).fill(3), fromPeer: new Uint8Array(32).fill(4) };
const SHARD = 0x20;
const REPORT = 0x21;

const BYTES = packetOf(1, 20_000);

class HandClock implements Clock {
  time = 1_000;
  now(): number {
    return this.time;
  }
  setTimer(): never {
    throw new Error('A packetizer sets no timers.');
  }
  defer(): never {
    throw new Error('A packetizer defers nothing.');
  }
}

/** Two packetizers: what the one sends, the other receives when told to. */
class Pair {
  readonly clock = new HandClock();
  readonly udp = new FakeUdp();
  readonly back = new FakeUdp();
  readonly sender: BlockPacketizer;
  readonly receiver: BlockPacketizer;
  /** What the receiver's packets were. */
  received: Uint8Array[] = [];

  constructor(size = SIZE) {
    this.sender = new BlockPacketizer(this.udp, [size], this.clock, hmacSha256, () => {});
    this.receiver = new BlockPacketizer(this.back, [size], this.clock, hmacSha256, (packet) => {
      this.received.push(Uint8Array.from(packet));
      // quiche decrypts a packet where it is.
      packet.fill(0xdd);
    });
  }

  static started(shards = 16, size = SIZE): Pair {
    const pair = new Pair(size);
    pair.sender.startBlocks({ shards, id: ID, reportKeys: KEYS, shardKeys: SHARD_KEYS, fec: 'off', rtt: 5 });
    pair.receiver.startBlocks({
      shards: 16,
      id: ID,
      reportKeys: { toPeer: KEYS.fromPeer, fromPeer: KEYS.toPeer },
      shardKeys: { toPeer: SHARD_KEYS.fromPeer, fromPeer: SHARD_KEYS.toPeer },
      fec: 'off',
      rtt: 5,
    });
    return pair;
  }

  /** The same on a path that is known to be fast. */
  static fast(shards = 16, size = SIZE): Pair {
    const pair = Pair.started(shards, size);
    for (let i = 0; i < 20; i++) {
      for (let n = 0; n < 60 && pair.sender.hasRoom(); n++) pair.send(quicPacket(n, pair.sender.packetBuffer().length));
      pair.exchange();
    }
    return pair;
  }

  /** What quiche would do. */
  send(packet: Uint8Array, hasData = true, to: UdpAddress = PEER): void {
    const into = this.sender.packetBuffer();
    if (into.length < packet.length) throw new Error(`${packet.length} bytes do not fit ${into.length}`);
    into.set(packet);
    this.sender.push(packet.length, to, hasData);
  }

  /** The datagrams that went out since the last call. */
  flush(): Uint8Array[] {
    this.sender.flush(PEER);
    return this.udp.takeRuns().flatMap(datagramsOf);
  }

  deliver(datagrams: readonly Uint8Array[]): Uint8Array[] {
    this.received = [];
    for (const datagram of datagrams) {
      const input = new Uint8Array(datagram.length + 10).fill(0xdd);
      input.set(datagram, 3);
      this.receiver.handleDatagram(input, 3, datagram.length);
      input.fill(0xdd);
    }
    return this.received;
  }

  /** The report that is due now, if one is. */
  report(): Uint8Array | null {
    this.receiver.handleTurn(PEER);
    this.receiver.flush(PEER);
    return this.back.takeRuns().flatMap(datagramsOf)[0] ?? null;
  }

  answer(report: Uint8Array): boolean {
    const genuine = this.sender.handleDatagram(report, 0, report.length);
    this.sender.handleTurn(PEER);
    return genuine;
  }

  /** All that was sent arrives, and the report of it. */
  exchange(): Uint8Array[] {
    const packets = this.deliver(this.flush());
    this.clock.time += 5;
    const report = this.report();
    if (report !== null) this.answer(report);
    return packets;
  }
}

/** A packet that begins as quiche's do. */
function quicPacket(seed: number, length: number): Uint8Array {
  const from = (seed * 17) % 1_000;
  const packet = BYTES.slice(from, from + length);
  packet.set(Uint8Array.of(0x40, ...ID).subarray(0, length));
  return packet;
}

/** How much each shard of a packet carries. */
function shardsOf(length: number): number[] {
  const full = Math.floor(length / PAYLOAD);
  return [...Array<number>(full).fill(PAYLOAD), length - full * PAYLOAD];
}

const equalAll = (a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean =>
  a.length === b.length && a.every((packet, i) => Buffer.compare(packet, b[i]!) === 0);

/** Sends packets of these lengths and checks that they arrive, in datagrams no larger than allowed. */
function carries(t: Test, pair: Pair, lengths: readonly number[], size: number, what: string): void {
  let wrong = 0;
  for (let at = 0; at < lengths.length; at += 10) {
    const packets = lengths.slice(at, at + 10).map((length) => quicPacket(length, length));
    // That there is no more to send says nothing of the path.
    pair.sender.handleIdle();
    for (const packet of packets) pair.send(packet);
    const datagrams = pair.flush();
    if (datagrams.some((datagram) => datagram.length > size || (datagram[0] !== SHARD && datagram[0] !== REPORT))) wrong++;
    if (!equalAll(pair.deliver(datagrams), packets)) wrong++;
    pair.exchange();
  }
  t.equal(wrong, 0, what);
}

test('packets of every size come out as they went in, whatever the number of shards', async (t) => {
  for (const shards of [1, 2, 5, 11, 12]) {
    const pair = Pair.fast(shards);
    const room = pair.sender.packetBuffer().length;
    t.equal(room, shards * PAYLOAD);
    // Every length at which something changes, and every length with the most shards.
    const step = shards === 12 ? 1 : 13;
    const edges = Array.from({ length: shards }, (_, i) => (i + 1) * PAYLOAD).flatMap((edge) => [edge - 1, edge, edge + 1]);
    const lengths = edges.filter((edge) => edge <= room);
    for (let length = 1; length <= room; length += step) lengths.push(length);
    carries(t, pair, lengths, SIZE, `${shards} shards`);
  }
});

test('the largest packet there is', async (t) => {
  const size = HEADER + 16_383 / 3;
  const pair = Pair.fast(16, size);
  t.equal(pair.sender.packetBuffer().length, 16_383);
  carries(t, pair, [16_383, 16_382, size, size + 1, 1], size, '16,383 bytes in three shards');
});

test('packets have one datagram until the path is known to be fast, and no more than the peer takes', async (t) => {
  for (const [peer, expected] of [
    [1, 1],
    [2, 2],
    [11, 11],
    [12, 12],
    [16, 12],
    [2 ** 53, 12],
  ] as const) {
    t.equal(Pair.started(peer).sender.packetBuffer().length, PAYLOAD, 'before');
    t.equal(Pair.fast(peer).sender.packetBuffer().length, expected * PAYLOAD);
  }
});

test('no blocks to a peer that takes none, or that has no connection id to find it by', async (t) => {
  for (const [shards, id] of [
    [0, ID],
    [-1, ID],
    [16, ID.subarray(1)],
    [16, new Uint8Array(0)],
  ] as const) {
    const { sender, udp } = new Pair();
    sender.startBlocks({ shards, id, reportKeys: KEYS, shardKeys: SHARD_KEYS, fec: 'off', rtt: 5 });
    t.equal(sender.path, null);
    t.equal(sender.packetBuffer().length, SIZE, `${shards} shards, an id of ${id.length} bytes`);
    const packet = quicPacket(1, SIZE);
    sender.packetBuffer().set(packet);
    sender.push(SIZE, PEER, true);
    sender.flush(PEER);
    t.same(udp.takeRuns().flatMap(datagramsOf), [packet]);
    t.equal(sender.deadline(), Infinity);
  }
});

test('each block takes as many numbers as it has shards, and a number of its own for each', async (t) => {
  const pair = Pair.fast();
  const first = numberOf(startOf(pair, 1_000));
  const lengths = [2_000, 100, 12 * PAYLOAD, PAYLOAD, 3_000];
  for (const length of lengths) pair.send(quicPacket(length, length));
  const firsts = new Set(pair.flush().map(numberOf));
  t.same([...firsts], [first + 1, first + 3, first + 4, first + 16, first + 17]);
});

test('shards are dropped before the peer has shown who it is; plain packets are not', async (t) => {
  const pair = Pair.fast();
  const received: Uint8Array[] = [];
  const receiver = new BlockPacketizer(new FakeUdp(), [SIZE], pair.clock, hmacSha256, (packet) => {
    received.push(Uint8Array.from(packet));
  });
  const fresh = Pair.started();
  fresh.send(quicPacket(1, 1_000));
  const plain = quicPacket(2, 100);
  const datagrams = [...fresh.flush(), plain];
  const take = (): void => datagrams.forEach((datagram) => receiver.handleDatagram(datagram, 0, datagram.length));
  take();
  t.same(received, [plain]);
  receiver.acceptBlocks(SHARD_KEYS.toPeer);
  take();
  t.same(received.slice(1), [quicPacket(1, 1_000), plain], 'nothing was kept of those that were dropped');
  receiver.close();
});

test('an acknowledgement goes as it is while little is under way, behind the data when there is much', async (t) => {
  const pair = Pair.fast();
  const acknowledgement = quicPacket(1, 40);
  pair.send(acknowledgement, false);
  t.same(pair.deliver(pair.flush()), [acknowledgement]);
  pair.send(acknowledgement, false);
  t.equal(pair.flush()[0]![0], 0x40);
  for (let i = 0; i < 6; i++) pair.send(quicPacket(i, 12 * PAYLOAD));
  pair.send(acknowledgement, false);
  const datagrams = pair.flush();
  t.equal(datagrams.at(-1)![0], SHARD);
  t.same(pair.deliver(datagrams).at(-1), acknowledgement);
});

test('what says that the connection is closed goes as it is, and nothing follows', async (t) => {
  const pair = Pair.fast();
  pair.send(quicPacket(1, 5_000));
  pair.flush();
  pair.sender.finish();
  const farewell = quicPacket(2, 60);
  t.ok(pair.sender.hasRoom());
  pair.send(farewell, false);
  t.same(pair.flush(), [farewell]);
  pair.clock.time += 10_000;
  pair.sender.handleTurn(PEER);
  t.same([pair.flush(), pair.sender.deadline()], [[], Infinity]);
  pair.sender.close();
  pair.sender.close();
});

test('what is not reported is sent again, to where the peer is now, and only that', async (t) => {
  const pair = Pair.fast();
  const packets = [quicPacket(1, 12 * PAYLOAD), quicPacket(2, 12 * PAYLOAD)];
  for (const packet of packets) pair.send(packet);
  const datagrams = pair.flush();
  t.equal(datagrams.length, 24);
  const [lost] = datagrams.splice(5, 1);
  t.same(pair.deliver(datagrams), [], 'the second waits for the first');
  pair.clock.time += 5;
  pair.send(quicPacket(3, 100));
  pair.deliver(pair.flush());
  pair.clock.time += 50;
  const report = pair.report()!;
  t.equal(report[0], REPORT);
  pair.sender.handleDatagram(report, 0, report.length);
  const elsewhere = { host: '127.0.0.1', port: 3 };
  pair.sender.handleTurn(elsewhere);
  pair.sender.flush(elsewhere);
  const runs = pair.udp.takeRuns();
  t.same(runs.flatMap(datagramsOf), [lost]);
  t.equal(runs[0]!.to, elsewhere);
  t.same(pair.deliver([lost!]), [...packets, quicPacket(3, 100)]);
  t.equal(pair.sender.path!.lost, 1);
});

test('only a report that the peer wrote just now shows where it is, and counts', async (t) => {
  const pair = Pair.fast();
  pair.send(quicPacket(1, 5_000));
  pair.deliver(pair.flush());
  pair.clock.time += 5;
  const report = pair.report()!;
  const deadline = pair.sender.deadline();
  t.ok(deadline < Infinity);
  const wrong = Uint8Array.from(report);
  wrong[wrong.length - 1]! ^= 1;
  for (const [what, bytes] of [
    ['a wrong tag', wrong],
    ['cut', report.subarray(0, report.length - 1)],
    ['nothing but the type', report.subarray(0, 1)],
    ['longer', Uint8Array.of(...report, 0, 0, 0, 0)],
  ] as const) {
    t.equal(pair.sender.handleDatagram(bytes, 0, bytes.length), false, what);
    t.equal(pair.sender.deadline(), deadline, 'and says nothing');
  }
  t.equal(pair.answer(report), true);
  t.equal(pair.sender.deadline(), Infinity, 'nothing is under way');
  t.equal(pair.answer(report), false, 'a copy');
});

test('reports come soon, sooner when something is missing, and at once when much has come', async (t) => {
  const pair = Pair.fast();
  pair.send(quicPacket(1, 100));
  pair.deliver(pair.flush());
  t.equal(pair.report(), null);
  t.equal(pair.receiver.deadline(), pair.clock.time + 4);
  pair.exchange();
  pair.clock.time += 4;
  pair.report();
  pair.send(quicPacket(1, 3_000));
  pair.deliver(pair.flush().slice(1));
  t.equal(pair.receiver.deadline(), pair.clock.time + 1);
  pair.clock.time += 1;
  t.ok(pair.report());
  t.equal(pair.receiver.deadline(), Infinity);
});

test('small packets share a datagram, and keep their places between large ones', async (t) => {
  const pair = Pair.fast();
  const lengths = [60, 300, 45, 1_200, 9_000, 80, 1_201, 70];
  const packets = lengths.map((length) => quicPacket(length, length));
  for (const packet of packets) pair.send(packet);
  const datagrams = pair.flush();
  // The four do not fit one datagram, so the fourth is alone.
  t.same(
    datagrams.map((datagram) => datagram.length - HEADER),
    [1 + 2 + 60 + 2 + 300 + 2 + 45, 1_200, ...shardsOf(9_000), 80, 1_201, 70],
  );
  t.same(pair.deliver(datagrams), packets);
});

test('a lost datagram of small packets is sent again whole', async (t) => {
  const pair = Pair.fast();
  const packets = [50, 60, 70].map((length) => quicPacket(length, length));
  for (const packet of packets) pair.send(packet);
  const [lost, ...more] = pair.flush();
  t.equal(more.length, 0);
  pair.clock.time += 10_000;
  pair.sender.handleTurn(PEER);
  const again = pair.flush().filter((datagram) => datagram[0] === SHARD);
  t.same(again, [lost]);
  t.same(pair.deliver(again), packets);
});

test('a shard of the last burst is sent again before anybody wonders at the silence', async (t) => {
  const pair = Pair.fast();
  pair.sender.handleIdle();
  const packets = [3_000, 2_000].map((length) => quicPacket(length, length));
  for (const packet of packets) pair.send(packet);
  const [lost, ...others] = pair.flush() as [Uint8Array, ...Uint8Array[]];
  pair.deliver(others);
  pair.clock.time += 5;
  pair.answer(pair.report()!);
  t.same(pair.flush(), [], 'it may have been overtaken');
  const wait = pair.sender.deadline() - pair.clock.time;
  t.ok(wait > 0 && wait <= 10, `${wait} ms`);
  pair.clock.time += wait;
  pair.sender.handleTurn(PEER);
  t.same(pair.flush(), [lost]);
  t.same(pair.deliver([lost]), packets);
});

test('blocks whose shards are full share a run; the kernel may join what it sends', async (t) => {
  const pair = Pair.fast();
  const packets = [2, 12, 3].map((shards) => quicPacket(shards, shards * PAYLOAD));
  for (const packet of packets) pair.send(packet);
  pair.send(quicPacket(9, 40));
  pair.sender.flush(PEER);
  const [run, ...more] = pair.udp.takeRuns();
  t.equal(more.length, 0, 'one run');
  const { bytes } = run!;
  const datagrams: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += SIZE) datagrams.push(bytes.subarray(at, at + SIZE));
  t.same(pair.deliver(datagrams), [...packets, quicPacket(9, 40)]);
});

test('shards and parity that others make up are thrown away, and cost no packet', async (t) => {
  const random = seededRandom(9);
  const pair = Pair.fast();
  pair.exchange();
  pair.received = [];
  const seen: Uint8Array[] = [];
  let wrong = 0;
  for (let i = 0; i < 200; i++) {
    const packet = quicPacket(i, integerBetween(random, 1, pair.sender.packetBuffer().length));
    pair.send(packet);
    const datagrams = pair.flush();
    seen.push(...datagrams.filter((datagram) => datagram[0] === SHARD));
    for (let n = 0; n < 20; n++) {
      const forged = Uint8Array.from(seen[integerBetween(random, Math.max(0, seen.length - 30), seen.length - 1)]!);
      // What is under way, changed where it says what it is; often another shard's place.
      if (n % 4 === 0) forged[0] = 0x23;
      else if (n % 4 === 1) forged[23]! += integerBetween(random, 1, 20);
      else forged[integerBetween(random, 17, 27)]! ^= integerBetween(random, 1, 255);
      pair.receiver.handleDatagram(forged, 0, forged.length);
    }
    const came = pair.deliver(datagrams);
    if (came.length !== 1 || Buffer.compare(came[0]!, packet) !== 0) wrong++;
    pair.clock.time += 5;
    const report = pair.report();
    if (report !== null) pair.answer(report);
  }
  t.equal(wrong, 0);
  pair.sender.close();
  pair.receiver.close();
});

test('garbage of every kind: nothing throws, nothing is taken for the peer’s, and a link goes on', async (t) => {
  const random = seededRandom(8);
  const pair = Pair.fast();
  for (let round = 0; round < 20_000; round++) {
    const bytes = randomBytes(random, integerBetween(random, 1, 120));
    bytes[0] = 0x20 + integerBetween(random, 0, 3);
    bytes.set(ID.subarray(0, bytes.length - 1), 1);
    if (pair.sender.handleDatagram(bytes, 0, bytes.length)) t.fail(`round ${round}`);
    if (pair.receiver.handleDatagram(bytes, 0, bytes.length)) t.fail(`round ${round}`);
  }
  pair.exchange();
  pair.received = [];
  let came = 0;
  for (let i = 0; i < 400; i++) {
    pair.send(quicPacket(i, 1_000));
    came += pair.exchange().filter((packet) => Buffer.compare(packet, quicPacket(i, 1_000)) === 0).length;
  }
  t.equal(came, 400);
  pair.sender.close();
  pair.receiver.close();
});

const numberOf = (datagram: Uint8Array): number => (datagram[21]! << 16) | (datagram[22]! << 8) | datagram[23]!;

function startOf(pair: Pair, length: number): Uint8Array {
  pair.send(quicPacket(1, length));
  const [datagram] = pair.flush();
  pair.deliver([datagram!]);
  return datagram!;
}
