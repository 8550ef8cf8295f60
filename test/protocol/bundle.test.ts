import { test } from 'tap';
import { Bundle, unbundle } from '../../src/protocol/bundle.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

/** As QUIC's: the fixed bit is set. */
function packet(length: number, seed = length): Uint8Array {
  const bytes = randomBytes(seededRandom(seed), length);
  bytes[0]! |= 0x40;
  return bytes;
}

function packetsOf(block: Uint8Array): Uint8Array[] {
  const packets: Uint8Array[] = [];
  unbundle(block, (each) => packets.push(Uint8Array.from(each)));
  return packets;
}

test('packets come out as they went in', async (t) => {
  const bundle = new Bundle();
  const random = seededRandom(1);
  for (let round = 0; round < 50; round++) {
    const packets = Array.from({ length: integerBetween(random, 1, 12) }, () =>
      packet(integerBetween(random, 1, 100), random() * 1e9),
    );
    t.ok(packets.every((each) => bundle.add(each, 1_326)));
    t.notOk(bundle.isEmpty);
    t.same(packetsOf(bundle.take()), packets);
    t.ok(bundle.isEmpty);
  }
});

test('one packet alone travels as it is', async (t) => {
  const bundle = new Bundle();
  t.ok(bundle.add(packet(40), 1_326));
  t.same(bundle.take(), packet(40));
});

test('a block is no longer than it may be, and takes no more packets than its receiver', async (t) => {
  const bundle = new Bundle();
  t.ok(bundle.add(packet(97), 200));
  t.notOk(bundle.add(packet(99), 200), '1 + 2 + 97 + 2 + 99 is a byte too many');
  t.ok(bundle.add(packet(97, 2), 200));
  t.equal(bundle.take().length, 199);
  t.notOk(bundle.add(packet(198), 200));
  t.notOk(bundle.add(packet(16_384), 65_536), 'nor than a packet may be');
  let count = 0;
  while (bundle.add(packet(20), 16_384)) count++;
  t.equal(packetsOf(bundle.take()).length, count);
});

test('blocks of strangers: nothing throws, and no packet reaches beyond the block or is made of nothing', async (t) => {
  const random = seededRandom(3);
  let most = 0;
  let [beyond, empty] = [0, 0];
  for (let round = 0; round < 5_000; round++) {
    const block = randomBytes(random, integerBetween(random, 1, 600));
    block[0] = 0;
    // Often lengths that fit.
    for (let at = 1; at + 2 < block.length; at += 2 + block[at + 1]!) {
      block[at] = 0;
      block[at + 1] = integerBetween(random, 0, 9);
    }
    const packets = packetsOf(block);
    most = Math.max(most, packets.length);
    const length = packets.reduce((sum, each) => sum + 2 + each.length, 1);
    if (length > block.length) beyond++;
    if (packets.some((each) => each.length === 0)) empty++;
  }
  t.same({ most, beyond, empty }, { most: 64, beyond: 0, empty: 0 });
});
