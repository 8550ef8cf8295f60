import { test } from 'tap';
import { Reassembly } from '../../src/protocol/reassembly.ts';
import { BLOCK_IDS, MAX_SHARDS, SHARD_HEADER, type Shard } from '../../src/protocol/shard.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';
import { CountingPool, packetOf, shard, shardsOf } from './shards.ts';

const PADDING = 5;

/** Datagrams of one connection and the packets that came of them. */
class Receiver {
  readonly pool: CountingPool;
  readonly packets: Uint8Array[] = [];
  readonly reassembly: Reassembly;

  constructor(pool = new CountingPool()) {
    this.pool = pool;
    this.reassembly = new Reassembly(pool, (packet) => this.packets.push(Uint8Array.from(packet)));
  }

  /** Takes a datagram from the midst of a buffer that is overwritten afterwards. */
  take(datagram: Uint8Array): void {
    const input = new Uint8Array(datagram.length + 2 * PADDING).fill(0xdd);
    input.set(datagram, PADDING);
    this.reassembly.handleShard(input, PADDING, datagram.length);
    input.fill(0xdd);
  }

  takeAll(datagrams: readonly Uint8Array[]): this {
    for (const datagram of datagrams) this.take(datagram);
    return this;
  }
}

test('a block is whole in whatever order its shards come', async (t) => {
  for (let count = 2; count <= 6; count++) {
    const packet = packetOf(count, count * 10 - 3);
    const shards = shardsOf(packet, 10, 77);
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
      const shards = shuffled(random, shardsOf(packet, share, count));
      const receiver = new Receiver();
      receiver.takeAll(shards.slice(1));
      t.equal(receiver.packets.length, 0, 'nothing before the last shard');
      receiver.take(shards[0]!);
      t.ok(receiver.packets.length === 1 && equal(receiver.packets[0], packet), `${length} bytes in ${count} shards`);
    }
  }
});

test('blocks under way at once do not disturb each other, whatever the order and however often shards come twice', async (t) => {
  for (let seed = 0; seed < 50; seed++) {
    const random = seededRandom(seed);
    const packets = Array.from({ length: 60 }, (_, i) => packetOf(i, integerBetween(random, 2, 16_000)));
    const shards = packets.flatMap((packet, i) => {
      const count = integerBetween(random, 2, Math.min(packet.length, 12));
      return shardsOf(packet, Math.ceil(packet.length / count), i);
    });
    const twice = shards.filter(() => random() < 0.3);
    const receiver = new Receiver().takeAll(shuffled(random, [...shards, ...twice]));
    const key = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
    const expected = packets.map(key).toSorted();
    if (receiver.packets.map(key).toSorted().join() !== expected.join()) t.fail(`seed ${seed}`);
    t.match(receiver.reassembly.counts, { completed: 60, givenUp: 0, refused: 0 });
    t.equal(receiver.pool.used, 0);
  }
});

test('a duplicate changes nothing, before its block is whole and after', async (t) => {
  const packet = packetOf(1, 25);
  const shards = shardsOf(packet, 10, 5);
  const receiver = new Receiver().takeAll([shards[0]!, shards[0]!, shards[1]!, shards[0]!]);
  t.equal(receiver.packets.length, 0);
  const forged = Uint8Array.from(shards[0]!).fill(9, SHARD_HEADER);
  receiver.takeAll([forged, shards[2]!, ...shards, forged, ...shards]);
  t.equal(receiver.packets.length, 1);
  t.same(receiver.packets[0], packet, 'what came first for a place stays');
  t.match(receiver.reassembly.counts, { completed: 1, givenUp: 0, refused: 0 });
  t.equal(receiver.pool.used, 0, 'a duplicate of a block that is done opens none');
});

test('what is no shard is refused and opens no block', async (t) => {
  const good: Shard = { count: 3, index: 1, length: 25, blockId: 0 };
  const WRONG: [name: string, header: Partial<Shard>, size: number][] = [
    ['no payload', {}, 0],
    ['no payload in the last', { index: 2 }, 0],
    ['no shards', { count: 0, index: 0 }, 10],
    ['one shard', { count: 1, index: 0 }, 25],
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
  ];
  for (const [name, header, size] of WRONG) {
    const receiver = new Receiver();
    receiver.take(shard({ ...good, ...header }, new Uint8Array(size)));
    t.same(receiver.reassembly.counts, { completed: 0, givenUp: 0, refused: 1 }, name);
    t.equal(receiver.pool.used, 0, name);
  }
  const receiver = new Receiver();
  for (let length = 0; length <= SHARD_HEADER; length++) receiver.take(shardsOf(packetOf(1, 25), 10, 0)[0]!.subarray(0, length));
  for (const type of [0x00, 0x21, 0x40, 0x60, 0xa0]) {
    const datagram = shardsOf(packetOf(1, 25), 10, 0)[0]!;
    datagram[0] = type;
    receiver.take(datagram);
  }
  t.equal(receiver.reassembly.counts.refused, SHARD_HEADER + 1 + 5, 'cut short, or of another type');
  t.equal(receiver.pool.used, 0);
});

test('a shard that contradicts its block is refused, and the block comes out right', async (t) => {
  const packet = packetOf(1, 25);
  const shards = shardsOf(packet, 10, 5);
  const CONTRADICTIONS: [name: string, header: Shard, size: number][] = [
    ['another count', { count: 4, index: 1, length: 25, blockId: 5 }, 7],
    ['another length', { count: 3, index: 1, length: 26, blockId: 5 }, 10],
    ['another size', { count: 3, index: 1, length: 25, blockId: 5 }, 9],
    ['another size of the last', { count: 3, index: 2, length: 25, blockId: 5 }, 1],
  ];
  for (const [name, header, size] of CONTRADICTIONS) {
    const receiver = new Receiver();
    receiver.take(shards[0]!);
    receiver.take(shard(header, new Uint8Array(size)));
    t.same(receiver.reassembly.counts, { completed: 0, givenUp: 0, refused: 1 }, name);
    receiver.takeAll(shards.slice(1));
    t.same(receiver.packets, [packet], name);
  }
});

test('block ids wrap', async (t) => {
  const receiver = new Receiver();
  const ids = Array.from({ length: 3_000 }, (_, i) => (BLOCK_IDS - 1_500 + i) % BLOCK_IDS);
  for (const id of ids) receiver.takeAll(shardsOf(packetOf(id, 25), 10, id));
  t.equal(receiver.packets.length, ids.length);
  t.ok(receiver.packets.every((packet, i) => equal(packet, packetOf(ids[i]!, 25))));
});

test('an id used before is a new block once it has come round', async (t) => {
  const receiver = new Receiver();
  for (let id = 0; id < 2_048; id++) receiver.takeAll(shardsOf(packetOf(id, 25), 10, id));
  receiver.takeAll(shardsOf(packetOf(9_999, 25), 10, 3));
  t.same(receiver.packets.at(-1), packetOf(9_999, 25));
});

test('a block is given up when 64 others have been opened since', async (t) => {
  for (const others of [63, 64]) {
    const receiver = new Receiver();
    const shards = shardsOf(packetOf(0, 25), 10, 0);
    receiver.takeAll(shards.slice(0, 2));
    for (let id = 1; id <= others; id++) receiver.take(shardsOf(packetOf(id, 25), 10, id)[1]!);
    receiver.take(shards[2]!);
    t.same(receiver.packets, others === 63 ? [packetOf(0, 25)] : [], `${others} others`);
  }
});

test('a peer that begins blocks and ends none takes 64 buffers and leaves none', async (t) => {
  const pool = new CountingPool();
  const receivers = [new Receiver(pool), new Receiver(pool), new Receiver(pool)];
  for (let id = 0; id < 10_000; id++) {
    for (const receiver of receivers) receiver.take(shardsOf(packetOf(id, 25), 10, id)[id % 3]!);
  }
  t.equal(pool.most, 3 * 64);
  t.same(receivers[0]!.reassembly.counts, { completed: 0, givenUp: 10_000 - 64, refused: 0 });
  receivers[0]!.reassembly.close();
  t.equal(pool.used, 2 * 64);
  receivers[0]!.reassembly.close();
  t.equal(pool.used, 2 * 64, 'closing twice gives nothing twice');
  for (const receiver of receivers) receiver.reassembly.close();
  t.equal(pool.used, 0);
});

test('the buffers that a burst has made are used again', async (t) => {
  const pool = new CountingPool();
  const given = new Set<Uint8Array>();
  const give = pool.give.bind(pool);
  pool.give = (bytes) => {
    given.add(bytes);
    give(bytes);
  };
  for (let id = 0; id < 1_000; id++) new Receiver(pool).takeAll(shardsOf(packetOf(id, 25), 10, id));
  t.equal(given.size, 1);
});

test('200,000 shards, many of them forged: no throw, no wrong byte in a block that nobody forged, bounded', async (t) => {
  const random = seededRandom(2024);
  const pool = new CountingPool();
  const forged = new Set<number>();
  let wrong = 0;
  let right = 0;
  let current = 0;
  const reassembly = new Reassembly(pool, (packet) => {
    if (forged.has(current)) return;
    if (equal(packet, packetOf(current, lengthOf(current)))) right++;
    else wrong++;
  });
  const queue: Uint8Array[] = [];
  let blocks = 0;
  for (let sent = 0; sent < 200_000; sent++) {
    while (queue.length < 40) {
      const share = Math.ceil(lengthOf(blocks) / (2 + (blocks % 11)));
      queue.push(...shardsOf(packetOf(blocks, lengthOf(blocks)), share, blocks));
      blocks++;
    }
    const [datagram] = queue.splice(integerBetween(random, 0, 39), 1) as [Uint8Array];
    const isForged = random() < 0.1;
    const bytes = isForged ? mutated(random, datagram) : datagram;
    current = bytes.length < SHARD_HEADER ? -1 : (bytes[21]! << 16) | (bytes[22]! << 8) | bytes[23]!;
    if (isForged) forged.add(current);
    reassembly.handleShard(bytes, 0, bytes.length);
    if (isForged && random() < 0.5) queue.push(datagram);
  }
  t.equal(wrong, 0);
  t.ok(right > blocks / 4, `${right} of ${blocks} blocks`);
  t.ok(pool.most <= 64, `${pool.most} buffers`);
  t.ok(reassembly.counts.refused > 1_000, 'the forgeries were not all harmless');
  reassembly.close();
  t.equal(pool.used, 0);
});

const lengthOf = (blockId: number): number => 12 + ((blockId * 7919) % 500);

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
