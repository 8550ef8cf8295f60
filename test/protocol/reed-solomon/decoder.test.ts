import { test } from 'tap';
import { ParityDecoder } from '../../../src/protocol/reed-solomon/decoder.ts';
import type { Kernel } from '../../../src/protocol/reed-solomon/kernel.ts';
import { integerBetween, randomBytes, seededRandom } from '../../support/random.ts';
import { encode, padded } from './groups.ts';
import { KERNELS } from './kernels.ts';

for (const create of KERNELS) {
  const kernel = create();
  const decoder = new ParityDecoder(kernel);

  test(`${kernel.name}: small groups, every way to lose shards`, async (t) => {
    const random = seededRandom(7);
    for (let k = 1; k <= 6; k++) {
      for (let p = 1; p <= 4; p++) {
        const group = makeGroup(kernel, random, k, p, 1, 21);
        for (let lost = 0; lost < 1 << (k + p); lost++) {
          const outcome = lose(decoder, group, (i) => ((lost >> i) & 1) === 1);
          const expected = outcome.lostData <= p - outcome.lostParity;
          if (outcome.isRebuilt !== expected || outcome.wrong > 0) t.fail(`${k} + ${p}, lost ${lost.toString(2)}`);
        }
      }
    }
  });

  test(`${kernel.name}: larger groups, as much lost as can be, seeded`, async (t) => {
    const random = seededRandom(8);
    for (let n = 0; n < 300; n++) {
      const k = integerBetween(random, 1, 128);
      const p = integerBetween(random, 1, 32);
      const group = makeGroup(kernel, random, k, p, 1, 64);
      const lost = new Set<number>();
      while (lost.size < p) lost.add(integerBetween(random, 0, k + p - 1));
      const outcome = lose(decoder, group, (i) => lost.has(i));
      t.same(
        outcome,
        { isRebuilt: true, wrong: 0, lostData: outcome.lostData, lostParity: p - outcome.lostData },
        `${k} + ${p}, ${[...lost]}`,
      );
    }
  });

  test(`${kernel.name}: the largest group of the largest shards, all parity used`, async (t) => {
    const group = makeGroup(kernel, seededRandom(9), 128, 32, 1500, 1500);
    t.match(
      lose(decoder, group, (i) => i % 4 === 1 && i < 128),
      { isRebuilt: true, wrong: 0, lostData: 32 },
    );
  });

  test(`${kernel.name}: one more lost than there is parity, and nothing is written`, async (t) => {
    const { data, parity } = makeGroup(kernel, seededRandom(10), 5, 2, 8, 8);
    const target = new Uint8Array(8).fill(0xee);
    t.notOk(decoder.reconstruct([null, null, null, data[3]!, data[4]!], parity, [target, target, target]));
    t.notOk(decoder.reconstruct([null, null, ...data.slice(2)], [null, parity[1]!], [target, target]));
    t.notOk(decoder.reconstruct([null, ...data.slice(1)], [], [target]));
    t.same(target, new Uint8Array(8).fill(0xee));
  });

  test(`${kernel.name}: nothing lost, nothing to do`, async (t) => {
    t.ok(decoder.reconstruct([Uint8Array.of(1)], [], []));
  });

  test(`${kernel.name}: lengths that do not belong together, which a peer could send`, async (t) => {
    const { data, parity } = makeGroup(kernel, seededRandom(11), 3, 2, 8, 8);
    const targets = [new Uint8Array(1500), new Uint8Array(1500)];
    const longer = new Uint8Array(9);
    t.notOk(decoder.reconstruct([null, longer, data[2]!], parity, targets), 'data longer than parity');
    t.notOk(decoder.reconstruct([null, new Uint8Array(0), data[2]!], parity, targets), 'empty data');
    t.notOk(decoder.reconstruct([null, null, data[2]!], [parity[0]!, longer], targets), 'parity of two lengths');
    t.notOk(decoder.reconstruct([null, data[1]!, data[2]!], [new Uint8Array(0)], targets), 'empty parity');
    t.notOk(decoder.reconstruct([null, data[1]!, data[2]!], [new Uint8Array(1501)], targets), 'parity too long');
    t.notOk(decoder.reconstruct(Array(129).fill(null), parity, targets), 'too many shards');
    t.notOk(decoder.reconstruct(Array(128).fill(null), Array(40).fill(parity[0]!), targets), 'parity beyond the last');
    t.same(targets, [new Uint8Array(1500), new Uint8Array(1500)]);
  });

  test(`${kernel.name}: targets without room are a mistake of the caller, and nothing stays behind`, async (t) => {
    const { data, parity } = makeGroup(kernel, seededRandom(12), 3, 2, 8, 8);
    const given = [null, null, data[2]!];
    t.throws(() => decoder.reconstruct(given, parity, [new Uint8Array(8)]), { code: 'INTERNAL' });
    t.throws(() => decoder.reconstruct(given, parity, [new Uint8Array(8), new Uint8Array(7)]), { code: 'INTERNAL' });
    const targets = [new Uint8Array(8), new Uint8Array(8)];
    t.ok(decoder.reconstruct(given, parity, targets));
    t.same(targets, data.slice(0, 2));
  });

  test(`${kernel.name}: a wrong byte is wrong in its place only, as the layer above must know`, async (t) => {
    const { data, parity } = makeGroup(kernel, seededRandom(13), 4, 1, 16, 16);
    const forged = data[1]!.slice();
    forged[5]! ^= 0xff;
    const target = new Uint8Array(16);
    t.ok(decoder.reconstruct([null, forged, data[2]!, data[3]!], parity, [target]));
    const differing = [...target.keys()].filter((i) => target[i] !== data[0]![i]);
    t.same(differing, [5]);
  });
}

test('what one kernel makes the other understands', async (t) => {
  const random = seededRandom(14);
  for (const [create, other] of [KERNELS, KERNELS.toReversed()]) {
    const group = makeGroup(create!(), random, 44, 5, 900, 1400);
    t.match(
      lose(new ParityDecoder(other!()), group, (i) => i % 10 === 3),
      { isRebuilt: true, wrong: 0, lostData: 5 },
    );
  }
});

interface Group {
  readonly data: readonly Uint8Array[];
  readonly parity: readonly Uint8Array[];
}

function makeGroup(kernel: Kernel, random: () => number, k: number, p: number, shortest: number, longest: number): Group {
  const data = Array.from({ length: k }, () => randomBytes(random, integerBetween(random, shortest, longest)));
  return { data, parity: encode(kernel, data, p) };
}

/** Takes away shards (data are 0 … k − 1, then parity) and counts how many of the lost data shards do not come back as they were. */
function lose(decoder: ParityDecoder, { data, parity }: Group, isLost: (i: number) => boolean) {
  const k = data.length;
  const given = data.map((shard, i) => (isLost(i) ? null : shard));
  const parityLeft = parity.map((shard, j) => (isLost(k + j) ? null : shard));
  const lost = data.filter((_, i) => isLost(i));
  const length = parity[0]!.length;
  const targets = lost.map(() => new Uint8Array(length));
  const isRebuilt = decoder.reconstruct(given, parityLeft, targets);
  const wrong = isRebuilt ? lost.filter((shard, n) => !Buffer.from(targets[n]!).equals(padded(shard, length))).length : 0;
  return { isRebuilt, wrong, lostData: lost.length, lostParity: parityLeft.filter((shard) => shard === null).length };
}
