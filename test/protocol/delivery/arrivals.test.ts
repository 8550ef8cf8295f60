import { test } from 'tap';
import { Arrivals, MAX_AHEAD } from '../../../src/protocol/delivery/arrivals.ts';
import { MAX_RANGES } from '../../../src/protocol/delivery/report.ts';
import { WRAP } from '../../../src/protocol/delivery/serial.ts';
import { MAX_SHARDS, SHARD_HEADER, type Shard } from '../../../src/protocol/shard.ts';
import { integerBetween, randomBytes, seededRandom } from '../../support/random.ts';
import { CountingPool, packetOf, shard, shardsOf } from '../shards.ts';

const PADDING = 5;

/** Datagrams of one connection and the packets that came of them. */
class Receiver {
  readonly pool: CountingPool;
  packets: Uint8Array[] = [];
  readonly arrivals: Arrivals;
  now = 0;

  constructor(pool = new CountingPool()) {
    this.pool = pool;
    this.arrivals = new Arrivals(pool, (packet) => this.packets.push(Uint8Array.from(packet)));
  }

  /** Takes a datagram from the midst of a buffer that is overwritten afterwards. */
  take(datagram: Uint8Array): void {
    const input = new Uint8Array(datagram.length + 2 * PADDING).fill(0xdd);
    input.set(datagram, PADDING);
    this.arrivals.handleShard(input, PADDING, datagram.length, this.now);
    input.fill(0xdd);
  }

  takeAll(datagrams: readonly Uint8Array[]): this {
    for (const datagram of datagrams) this.take(datagram);
    return this;
  }

  /** Packets since the last call. */
  taken(): Uint8Array[] {
    const { packets } = this;
    this.packets = [];
    return packets;
  }

  /** Which shards are said to have come, from the first that is missing to the last that is spoken of. */
  account(): { cumulative: number; come: number[] } {
    const { cumulative, ranges } = this.arrivals.account();
    const come: number[] = [];
    let at = cumulative;
    for (let i = 0; i < ranges.length; i += 2) {
      at += ranges[i]!;
      for (let run = ranges[i + 1]!; run > 0; run--) come.push(at++);
    }
    return { cumulative, come };
  }
}

/** A block that begins at `first` with `count` shards of 10 bytes, the last of 5. */
const blockAt = (first: number, count: number): { packet: Uint8Array; shards: Uint8Array[] } => {
  const packet = packetOf(first, count * 10 - 5);
  return { packet, shards: shardsOf(packet, count === 1 ? 5 : 10, first) };
};

test('a block is whole in whatever order its shards come', async (t) => {
  for (let count = 1; count <= 6; count++) {
    const { packet, shards } = blockAt(0, count);
    let wrong = 0;
    for (const order of permutations(shards)) {
      const { packets, pool } = new Receiver().takeAll(order);
      if (packets.length !== 1 || !equal(packets[0], packet) || pool.used !== 0) wrong++;
    }
    t.equal(wrong, 0, `${count} shards`);
  }
});

test('blocks of every count, with last shards from one byte to as much as the others', async (t) => {
  const random = seededRandom(1);
  for (let count = 2; count <= MAX_SHARDS; count++) {
    const share = Math.floor(16_384 / count);
    for (const length of [share * (count - 1) + 1, share * count - 1, share * count]) {
      const packet = packetOf(length, length);
      const shards = shuffled(random, shardsOf(packet, share, 0));
      const receiver = new Receiver();
      receiver.takeAll(shards.slice(1));
      t.equal(receiver.packets.length, 0, 'nothing before the last shard');
      receiver.take(shards[0]!);
      t.ok(receiver.packets.length === 1 && equal(receiver.packets[0], packet), `${length} bytes in ${count} shards`);
    }
  }
});

test('packets come out in the order of their numbers, each once, whatever the order and however often shards come twice', async (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const random = seededRandom(seed);
    let next = 0;
    const packets: Uint8Array[] = [];
    const shards = Array.from({ length: 60 }, (_, i) => {
      const packet = packetOf(i, integerBetween(random, 1, 16_000));
      packets.push(packet);
      const count = integerBetween(random, packet.length > 2_000 ? 2 : 1, Math.min(packet.length, 12));
      const block = shardsOf(packet, Math.ceil(packet.length / count), next);
      next += block.length;
      return block;
    }).flat();
    const twice = shards.filter(() => random() < 0.3);
    const receiver = new Receiver().takeAll(shuffled(random, [...shards, ...twice]));
    if (receiver.packets.length !== 60 || !packets.every((packet, i) => equal(receiver.packets[i], packet))) t.fail(`seed ${seed}`);
    t.match(receiver.arrivals.counts, { completed: 60, givenUp: 0, refused: 0 });
    t.equal(receiver.pool.used, 0);
    t.same(receiver.account(), { cumulative: shards.length, come: [] });
    const bytes = shards.reduce((sum, datagram) => sum + datagram.length, 0);
    t.equal(receiver.arrivals.bytes, bytes, 'what came twice counts once');
  }
});

test('what is whole waits for what is missing before it', async (t) => {
  const receiver = new Receiver();
  const blocks = [0, 3, 6].map((first) => blockAt(first, 3));
  receiver.takeAll([...blocks[2]!.shards, ...blocks[1]!.shards, ...blocks[0]!.shards.slice(0, 2)]);
  t.same(receiver.taken(), []);
  t.equal(receiver.arrivals.hasGap, false, 'the first shard that was not handed on is there');
  t.same(receiver.account(), { cumulative: 2, come: [3, 4, 5, 6, 7, 8] });
  receiver.take(blocks[0]!.shards[2]!);
  t.same(
    receiver.taken(),
    blocks.map(({ packet }) => packet),
  );
  t.equal(receiver.arrivals.next, 9);
});

test('a gap is seen when a later shard has come, and no longer when it is filled', async (t) => {
  const receiver = new Receiver();
  t.equal(receiver.arrivals.hasGap, false);
  receiver.takeAll(blockAt(1, 1).shards);
  t.equal(receiver.arrivals.hasGap, true);
  receiver.takeAll(blockAt(0, 1).shards);
  t.equal(receiver.arrivals.hasGap, false);
});

test('the latest shard and when it came', async (t) => {
  const receiver = new Receiver();
  const { shards } = blockAt(0, 3);
  receiver.now = 5;
  receiver.take(shards[2]!);
  receiver.now = 7;
  receiver.take(shards[0]!);
  t.same(receiver.arrivals.latest, { shard: 0, at: 7 });
  receiver.now = 9;
  receiver.take(shards[0]!);
  t.same(receiver.arrivals.latest, { shard: 0, at: 7 }, 'a copy is not news');
});

test('a duplicate changes nothing, before its block is whole and after', async (t) => {
  const { packet, shards } = blockAt(0, 3);
  const receiver = new Receiver().takeAll([shards[0]!, shards[0]!, shards[1]!, shards[0]!]);
  t.equal(receiver.packets.length, 0);
  const forged = Uint8Array.from(shards[0]!).fill(9, SHARD_HEADER);
  receiver.takeAll([forged, shards[2]!, ...shards, forged, ...shards]);
  t.same(receiver.packets, [packet], 'what came first for a place stays');
  t.match(receiver.arrivals.counts, { completed: 1, givenUp: 0, refused: 0 });
  t.equal(receiver.pool.used, 0, 'a duplicate of a block that is done opens none');
});

test('what is no shard is refused, is not reported and opens no block', async (t) => {
  const good: Shard = { count: 3, index: 1, length: 25, blockId: 0 };
  const WRONG: [name: string, header: Partial<Shard>, size: number][] = [
    ['no payload', {}, 0],
    ['no payload in the last', { index: 2 }, 0],
    ['no shards', { count: 0, index: 0 }, 10],
    ['one shard with less than the packet', { count: 1, index: 0 }, 24],
    ['one shard with more than the packet', { count: 1, index: 0 }, 26],
    ['too many shards', { count: 17, index: 0, length: 17 * 10 }, 10],
    ['255 shards', { count: 255, index: 254, length: 2_550 }, 10],
    ['an index like the count', { index: 3 }, 10],
    ['an index beyond', { index: 200 }, 10],
    ['a packet of nothing', { length: 0 }, 10],
    ['a packet smaller than its shard', { length: 9 }, 10],
    ['a packet that the others would fill', { length: 20 }, 10],
    ['a packet that all would not fill', { length: 31 }, 10],
    ['a last shard longer than the others', { index: 2, length: 31 }, 11],
    ['a last shard as long as the packet', { index: 2 }, 25],
    ['a last shard longer than the packet', { index: 2 }, 26],
    ['a last shard that leaves the others unequal', { index: 2 }, 6],
    ['a packet larger than any', { count: 2, index: 0, length: 16_385 }, 10_000],
    ['a packet larger than any, its last shard', { count: 2, index: 1, length: 16_386 }, 8_193],
    ['the largest length', { count: 16, index: 0, length: 65_535 }, 4_096],
    ['farther ahead than anything may be', { blockId: MAX_AHEAD - 2 }, 10],
    ['half way round', { blockId: WRAP / 2 - 1 }, 10],
  ];
  for (const [name, header, size] of WRONG) {
    const receiver = new Receiver();
    receiver.take(shard({ ...good, ...header }, new Uint8Array(size)));
    t.same(receiver.arrivals.counts, { completed: 0, givenUp: 0, refused: 1 }, name);
    t.equal(receiver.pool.used, 0, name);
    t.same(receiver.arrivals.account(), { cumulative: 0, ranges: [] }, name);
    t.equal(receiver.arrivals.bytes, 0);
  }
  const receiver = new Receiver();
  for (let length = 0; length <= SHARD_HEADER; length++) receiver.take(blockAt(0, 3).shards[0]!.subarray(0, length));
  for (const type of [0x00, 0x21, 0x22, 0x40, 0x60, 0xa0]) {
    const datagram = blockAt(0, 3).shards[0]!;
    datagram[0] = type;
    receiver.take(datagram);
  }
  t.equal(receiver.arrivals.counts.refused, SHARD_HEADER + 1 + 6, 'cut short, or of another type');
  t.equal(receiver.pool.used, 0);
});

test('the farthest shard that may come', async (t) => {
  const receiver = new Receiver();
  receiver.takeAll(blockAt(MAX_AHEAD - 3, 3).shards);
  t.same(receiver.account(), { cumulative: 0, come: [MAX_AHEAD - 3, MAX_AHEAD - 2, MAX_AHEAD - 1] });
  t.equal(receiver.arrivals.counts.refused, 0);
  receiver.arrivals.close();
  t.equal(receiver.pool.used, 0);
});

test('of shards that contradict each other the later counts', async (t) => {
  const { packet, shards } = blockAt(0, 3);
  const CONTRADICTIONS: [name: string, header: Shard, size: number][] = [
    ['another count', { count: 4, index: 1, length: 35, blockId: 0 }, 10],
    ['another length', { count: 3, index: 1, length: 26, blockId: 0 }, 10],
    ['another size', { count: 3, index: 1, length: 25, blockId: 0 }, 9],
    ['another size of the last', { count: 3, index: 2, length: 25, blockId: 0 }, 1],
  ];
  for (const [name, header, size] of CONTRADICTIONS) {
    const receiver = new Receiver();
    receiver.take(shard(header, new Uint8Array(size)));
    receiver.takeAll(shards);
    t.same(receiver.taken(), [packet], `${name}, before`);
    t.equal(receiver.arrivals.counts.refused, 1);
    t.equal(receiver.pool.used, 0);
  }
  for (const [name, header, size] of CONTRADICTIONS) {
    const receiver = new Receiver().takeAll(shards.slice(0, 2));
    receiver.take(shard(header, new Uint8Array(size)));
    receiver.take(shards[2]!);
    // The sender hears that all have come and sends nothing again.
    t.same(receiver.account(), { cumulative: 3, come: [] }, `${name}, in the midst: given up`);
    t.same(receiver.taken(), []);
    receiver.takeAll(blockAt(3, 2).shards);
    t.same(receiver.taken(), [blockAt(3, 2).packet], 'and the next comes');
    t.equal(receiver.pool.used, 0);
  }
});

test('blocks that lie across others hold nothing up for ever: each shard that comes is reported, each block after them arrives', async (t) => {
  for (let seed = 0; seed < 500; seed++) {
    const random = seededRandom(seed);
    const receiver = new Receiver();
    const blocks = Array.from({ length: 5 }, (_, i) => blockAt(i * 4, 4));
    const forged = Array.from({ length: integerBetween(random, 1, 6) }, () => {
      const { shards } = blockAt(integerBetween(random, 0, 16), integerBetween(random, 1, 8));
      return shards[integerBetween(random, 0, shards.length - 1)]!;
    });
    const shards = shuffled(random, [...blocks.flatMap((block) => block.shards), ...forged]);
    // As the sender does, which sends again what is not reported.
    receiver.takeAll(shards);
    let missing = [0];
    for (let rounds = 0; rounds < 10 && missing.length > 0; rounds++) {
      const { cumulative, come } = receiver.account();
      missing = Array.from({ length: 20 }, (_, i) => i).filter((number) => number >= cumulative && !come.includes(number));
      for (const number of missing) receiver.take(blocks[number >> 2]!.shards[number & 3]!);
    }
    receiver.taken();
    const after = blockAt(20, 4);
    receiver.takeAll(after.shards);
    receiver.account();
    const next = blockAt(24, 4);
    receiver.takeAll(next.shards);
    if (missing.length > 0 || !receiver.packets.some((packet) => equal(packet, next.packet))) t.fail(`seed ${seed}`);
    receiver.arrivals.handleForward(24);
    receiver.arrivals.close();
    if (receiver.pool.used !== 0) t.fail(`seed ${seed}: ${receiver.pool.used} buffers`);
  }
  t.pass('all arrived');
});

test('a single forged shard in the place of a block costs that block and no more', async (t) => {
  const receiver = new Receiver();
  const real = blockAt(0, 4);
  receiver.take(shard({ count: 1, index: 0, length: 7, blockId: 0 }, new Uint8Array(7)));
  t.equal(receiver.taken().length, 1, 'QUIC finds out that it is none');
  receiver.takeAll(real.shards);
  t.same(receiver.account(), { cumulative: 4, come: [] }, 'what came is reported, although it is of no use');
  receiver.takeAll(blockAt(4, 2).shards);
  t.same(receiver.taken(), [blockAt(4, 2).packet]);
});

test('a block that begins within another goes when that does', async (t) => {
  const receiver = new Receiver();
  receiver.take(blockAt(2, 8).shards[3]!);
  t.equal(receiver.pool.used, 1);
  receiver.takeAll(blockAt(0, 4).shards);
  t.equal(receiver.packets.length, 1);
  t.equal(receiver.pool.used, 0);
});

test('numbers wrap on the wire', async (t) => {
  const receiver = new Receiver();
  // A sender may skip what it has given up.
  let first = 0;
  while (first < WRAP - 3_000) receiver.arrivals.handleForward((first = Math.min(first + MAX_AHEAD, WRAP - 3_000)));
  let wrong = 0;
  for (; first < WRAP + 3_000; first += 3) {
    const { packet, shards } = blockAt(first, 3);
    const behind = blockAt(first - 3, 3).shards;
    receiver.takeAll([shards[2]!, ...behind, shards[0]!, shards[1]!]);
    const packets = receiver.taken();
    if (packets.length !== 1 || !equal(packets[0], packet)) wrong++;
  }
  t.equal(wrong, 0);
  t.same(receiver.account(), { cumulative: first, come: [] });
  t.same(receiver.arrivals.counts, { completed: 2_000, givenUp: 0, refused: 0 });
});

test('what the sender gives up is skipped, what is whole of it handed on', async (t) => {
  const receiver = new Receiver();
  const blocks = [0, 3, 6, 9].map((first) => blockAt(first, 3));
  receiver.takeAll([blocks[0]!.shards[0]!, ...blocks[1]!.shards, blocks[2]!.shards[1]!, ...blocks[3]!.shards]);
  receiver.arrivals.handleForward(2);
  t.equal(receiver.arrivals.next, 0, 'not half a block');
  receiver.arrivals.handleForward(9);
  t.same(receiver.taken(), [blocks[1]!.packet]);
  t.match(receiver.arrivals.counts, { givenUp: 2 });
  t.equal(receiver.arrivals.next, 9);
  receiver.takeAll(blockAt(12, 2).shards);
  t.same(receiver.taken(), [], 'nothing has come in whose wake the block that is whole goes out');
  receiver.arrivals.handleForward(12);
  t.same(receiver.taken(), [blocks[3]!.packet, blockAt(12, 2).packet]);
  receiver.arrivals.handleForward(0);
  t.equal(receiver.arrivals.next, 14, 'it never goes back');
  t.equal(receiver.pool.used, 0);
});

test('a report speaks of the first gaps when there are too many', async (t) => {
  const receiver = new Receiver();
  const many = 2 * MAX_RANGES;
  for (let i = 0; i < many; i++) receiver.takeAll(blockAt(2 * i + 1, 1).shards);
  const { cumulative, ranges } = receiver.arrivals.account();
  t.equal(cumulative, 0);
  t.same(
    ranges,
    Array.from({ length: 2 * MAX_RANGES }, () => 1),
  );
  receiver.takeAll(blockAt(0, 1).shards);
  t.equal(receiver.account().cumulative, 2);
  receiver.arrivals.close();
  t.equal(receiver.pool.used, 0);
});

test('a peer that begins blocks and ends none takes no more memory than is allowed, and leaves none', async (t) => {
  const pool = new CountingPool();
  const receiver = new Receiver(pool);
  // Each opens a buffer of 16 KiB with four bytes.
  for (let first = 0; first < MAX_AHEAD - 16; first++) {
    receiver.take(shard({ count: 13, index: 12, length: 16_384, blockId: first }, new Uint8Array(4)));
  }
  t.ok(pool.mostBytes <= 49 << 20, `${pool.mostBytes} bytes`);
  t.ok(receiver.arrivals.counts.refused > 0);
  const real = blockAt(0, 4);
  receiver.takeAll(real.shards);
  t.same(receiver.taken(), [real.packet], 'the one that all wait for is taken nevertheless');
  receiver.arrivals.close();
  t.equal(pool.used, 0);
  receiver.arrivals.close();
  t.equal(pool.used, 0, 'closing twice gives nothing twice');
});

test('as much as a sender may have under way is held while one shard is missing', async (t) => {
  const receiver = new Receiver();
  const length = 12 * 1_326;
  const blocks = Math.floor((32 << 20) / length);
  const packet = packetOf(1, length);
  for (let i = 0; i < blocks; i++) {
    const shards = shardsOf(packet, 1_326, 12 * i);
    receiver.takeAll(i === 0 ? shards.slice(1) : shards);
  }
  t.equal(receiver.arrivals.counts.refused, 0);
  receiver.take(shardsOf(packet, 1_326, 0)[0]!);
  t.equal(receiver.packets.length, blocks);
  t.equal(receiver.pool.used, 0);
});

test('the buffers that a burst has made are used again', async (t) => {
  const pool = new CountingPool();
  const given = new Set<Uint8Array>();
  const give = pool.give.bind(pool);
  pool.give = (bytes) => {
    given.add(bytes);
    give(bytes);
  };
  for (let i = 0; i < 1_000; i++) new Receiver(pool).takeAll(shardsOf(packetOf(i, 3_000), 1_000, 0));
  t.equal(given.size, 1);
});

test('200,000 shards, many of them forged: no throw, no packet out of order, none wrong that nobody forged, bounded, no stall', async (t) => {
  const random = seededRandom(2024);
  const pool = new CountingPool();
  let wrong = 0;
  let right = 0;
  let last = -1;
  const arrivals = new Arrivals(pool, (packet) => {
    // As QUIC does, by the packet itself.
    const number = packet.length < 12 ? -1 : Buffer.from(packet.buffer, packet.byteOffset).readUInt32BE(0);
    if (number < 0 || number >= blocks.length || !equal(packet, blocks[number]!.packet)) wrong++;
    else if (number <= last) t.fail(`${number} after ${last}`);
    else right++;
    last = Math.max(last, number < blocks.length ? number : -1);
  });
  const blocks: { first: number; packet: Uint8Array; shards: Uint8Array[] }[] = [];
  let next = 0;
  const queue: Uint8Array[] = [];
  const byNumber = new Map<number, Uint8Array>();
  for (let sent = 0; sent < 200_000; sent++) {
    while (queue.length < 40) {
      const packet = packetOf(blocks.length, 12 + ((blocks.length * 7919) % 500));
      Buffer.from(packet.buffer).writeUInt32BE(blocks.length);
      const shards = shardsOf(packet, Math.ceil(packet.length / (1 + (blocks.length % 12))), next);
      for (const [i, datagram] of shards.entries()) byNumber.set(next + i, datagram);
      blocks.push({ first: next, packet, shards });
      next += shards.length;
      queue.push(...shards);
    }
    const [datagram] = queue.splice(integerBetween(random, 0, 39), 1) as [Uint8Array];
    const bytes = random() < 0.02 ? mutated(random, datagram) : datagram;
    arrivals.handleShard(bytes, 0, bytes.length, sent);
    if (sent % 100 !== 99) continue;
    const { cumulative, ranges } = arrivals.account();
    let at = cumulative;
    for (let i = 0; i + 1 < ranges.length; i += 2) {
      for (let gap = ranges[i]!; gap > 0; gap--, at++) {
        const missing = byNumber.get(at);
        if (missing !== undefined && !queue.includes(missing)) queue.push(missing);
      }
      at += ranges[i + 1]!;
    }
    if (at < next && queue.length < 40 && arrivals.next < cumulative - MAX_SHARDS) t.fail('held up');
  }
  t.ok(right > blocks.length * 0.7, `${right} of ${blocks.length} packets`);
  t.ok(wrong > 100, 'the forgeries were not all harmless');
  t.ok(arrivals.next > next - MAX_AHEAD / 8, `${arrivals.next} of ${next}`);
  t.ok(pool.mostBytes < 49 << 20, `${pool.mostBytes} bytes`);
  arrivals.close();
  t.equal(pool.used, 0);
});

/** A few bytes changed, most often in the header; or cut, or longer, or nothing but noise. */
function mutated(random: () => number, datagram: Uint8Array): Uint8Array {
  const kind = random();
  if (kind < 0.1) return datagram.subarray(0, integerBetween(random, 0, datagram.length));
  if (kind < 0.2) return Buffer.concat([datagram, randomBytes(random, integerBetween(random, 1, 40))]);
  const bytes = kind < 0.3 ? randomBytes(random, integerBetween(random, 0, 100)) : Uint8Array.from(datagram);
  if (kind < 0.3 && bytes.length > 0) bytes[0] = 0x20;
  for (let changes = integerBetween(random, 1, 3); changes > 0 && bytes.length > 17; changes--) {
    const at =
      random() < 0.8
        ? integerBetween(random, 17, Math.min(SHARD_HEADER, bytes.length) - 1)
        : integerBetween(random, 0, bytes.length - 1);
    bytes[at] = random() < 0.5 ? bytes[at]! ^ (1 << integerBetween(random, 0, 7)) : integerBetween(random, 0, 255);
  }
  return bytes;
}

function shuffled<T>(random: () => number, items: readonly T[]): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = integerBetween(random, 0, i);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

function* permutations<T>(items: readonly T[]): Generator<T[]> {
  if (items.length === 0) yield [];
  for (const [i, item] of items.entries()) {
    for (const rest of permutations([...items.slice(0, i), ...items.slice(i + 1)])) yield [item, ...rest];
  }
}

function equal(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}
