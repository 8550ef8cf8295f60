import { test } from 'tap';
import { segmentOf } from '../../../src/quic/packetization/segment.ts';
import { integerBetween, randomBytes, seededRandom } from '../../support/random.ts';
import { ID, shardsOf } from '../../protocol/shards.ts';

const SIZE = 1_350;
const random = seededRandom(5);

function short(length = SIZE): Uint8Array {
  const packet = randomBytes(random, length);
  packet.set(Uint8Array.of(0x40 | integerBetween(random, 0, 0x3f), ...ID));
  return packet;
}

/** The shards of a packet that fills `count` of them, or not quite. */
function shards(count: number, missing = 0): Uint8Array[] {
  const share = SIZE - 24;
  return shardsOf(short(count * share - missing), share, integerBetween(random, 0, 1_000));
}

/** From the midst of a buffer in which more of the same stands around. */
function segment(datagrams: readonly Uint8Array[]): number {
  const run = Buffer.concat(datagrams);
  const around = short(100);
  return segmentOf(Buffer.concat([around, run, around, around]), 100, run.length);
}

test('a run of plain packets', async (t) => {
  for (const size of [38, 100, 1_200, SIZE]) {
    for (const count of [2, 3, 48]) t.equal(segment(Array.from({ length: count }, () => short(size))), size);
    t.equal(segment([short(size), short(size), short(30)]), size, 'the last is shorter');
    t.equal(segment([short(size), short(30)]), size, 'the second and last is shorter');
  }
});

test('a run of shards, of which each block’s first has the connection id twice', async (t) => {
  for (let first = 0; first < 12; first++) {
    t.equal(segment([...shards(12).slice(first), ...shards(12)]), SIZE, `beginning with shard ${first}`);
    t.equal(segment([...shards(12).slice(first), ...shards(12, 700)]), SIZE, 'the last is shorter');
    if (first < 11) t.equal(segment(shards(12, 1_325).slice(first)), SIZE, 'the last has one byte');
  }
});

test('plain packets and shards in one run', async (t) => {
  t.equal(segment([short(), ...shards(12), short(), short(700)]), SIZE);
  t.equal(segment([...shards(2), short(40)]), SIZE);
  t.equal(segment([shards(3)[2]!, short(40)]), SIZE);
});

test('a short last shard, then something shorter still', async (t) => {
  for (let size = 38; size < 60; size++) {
    const last = shards(2, SIZE - size)[1]!;
    t.equal(last.length, size);
    t.equal(segment([last, short(38)]), size, `${size} bytes`);
  }
});

test('a datagram by itself', async (t) => {
  for (const size of [1, 16, 17, 33, 34, 35, 40, 41, 42, 1_200, SIZE]) {
    t.equal(segment([short(17 + size).subarray(0, size)]), size, `a packet of ${size} bytes`);
  }
  for (const shard of [...shards(12), ...shards(2, 1_325)]) t.equal(segment([shard]), shard.length);
});

test('long headers are left to quiche', async (t) => {
  const long = randomBytes(random, 1_200);
  long.set([0xc3, 0, 0, 0, 1, 16, ...ID]);
  t.equal(segment([long]), 1_200);
  t.equal(segment([long, long, short()]), 3_750);
});

test('whatever comes, a segment is from one byte to the whole', async (t) => {
  const FIRST = [0x20, 0x40, 0x00, 0xc0];
  for (let i = 0; i < 20_000; i++) {
    // Few different bytes, so that ids are found again in the wrong places.
    const bytes = randomBytes(random, integerBetween(random, 1, 120)).map((byte) => byte & 1);
    bytes[0] = FIRST[i % 4]!;
    const step = segmentOf(bytes, 0, bytes.length);
    if (step < 1 || step > bytes.length) return void t.fail(`${step} of ${bytes.length}`);
  }
});
