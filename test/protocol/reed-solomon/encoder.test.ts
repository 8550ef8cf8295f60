import { test } from 'tap';
import { ParityEncoder } from '../../../src/protocol/reed-solomon/encoder.ts';
import { integerBetween, randomBytes, seededRandom } from '../../support/random.ts';
import { encode, parityByDefinition } from './groups.ts';
import { KERNELS } from './kernels.ts';

for (const create of KERNELS) {
  const kernel = create();

  test(`${kernel.name}: known parity`, async (t) => {
    // The second numbers of columns 0 and 1, (1 / (1 ^ 32)) × 32 and (1 / (1 ^ 33)) × 33, from a program of its own.
    const [first, second] = encode(kernel, [Uint8Array.of(1, 0, 1), Uint8Array.of(0, 1, 1)], 2);
    t.same(first, Uint8Array.of(1, 1, 0));
    t.same(second, Uint8Array.of(236, 109, 236 ^ 109));
  });

  test(`${kernel.name}: parity is what its definition says, for any k, p and lengths`, async (t) => {
    const random = seededRandom(4);
    for (let n = 0; n < 60; n++) {
      const data = Array.from({ length: integerBetween(random, 1, 128) }, () => randomBytes(random, integerBetween(random, 1, 40)));
      const count = integerBetween(random, 1, 32);
      t.same(encode(kernel, data, count), parityByDefinition(data, count), `${data.length} + ${count}`);
    }
  });

  test(`${kernel.name}: shards of every length from 1 to 1500`, async (t) => {
    const random = seededRandom(5);
    for (let length = 1; length <= 1500; length += length < 70 || length > 1480 ? 1 : 53) {
      const data = [randomBytes(random, length), randomBytes(random, Math.ceil(length / 2))];
      t.same(encode(kernel, data, 2), parityByDefinition(data, 2), `${length}`);
    }
  });

  test(`${kernel.name}: groups of several encoders grow at the same time, in any order`, async (t) => {
    const random = seededRandom(6);
    const groups = Array.from({ length: 50 }, (_, n) => ({
      encoder: new ParityEncoder(kernel),
      data: Array.from({ length: 9 }, () => randomBytes(random, 33)),
      count: 1 + (n % 5),
    }));
    for (const { encoder, count } of groups) encoder.begin(count);
    for (let i = 8; i >= 0; i--) for (const { encoder, data } of groups) encoder.add(i, data[i]!);
    for (const { encoder, data, count } of groups) {
      const parity = Array.from({ length: count }, (_, j) => encoder.parity(j).slice());
      t.same(parity, parityByDefinition(data, count));
      encoder.end();
    }
  });

  test(`${kernel.name}: a group that is begun anew has nothing of the one before`, async (t) => {
    const encoder = new ParityEncoder(kernel);
    encoder.begin(3);
    encoder.add(0, new Uint8Array(1500).fill(7));
    encoder.begin(3);
    t.equal(encoder.length, 0);
    encoder.add(5, Uint8Array.of(9));
    t.equal(encoder.length, 1);
    t.same(encoder.parity(0), Uint8Array.of(9));
    encoder.end();
    t.equal(encoder.length, 0);
  });

  test(`${kernel.name}: wrong arguments and calls are refused`, async (t) => {
    const encoder = new ParityEncoder(kernel);
    const isInternal = { code: 'INTERNAL' };
    t.throws(() => encoder.add(0, new Uint8Array(1)), isInternal);
    t.throws(() => encoder.parity(0), isInternal);
    for (const count of [0, 33, -1, 1.5, Number.NaN]) t.throws(() => encoder.begin(count), isInternal, `${count}`);
    encoder.begin(2);
    for (const index of [-1, 128, 0.5, Number.NaN]) t.throws(() => encoder.add(index, new Uint8Array(1)), isInternal, `${index}`);
    for (const length of [0, 1501]) t.throws(() => encoder.add(0, new Uint8Array(length)), isInternal, `${length}`);
    for (const j of [-1, 2, 0.5]) t.throws(() => encoder.parity(j), isInternal, `${j}`);
    t.equal(encoder.length, 0);
    encoder.end();
    t.throws(() => encoder.add(0, new Uint8Array(1)), isInternal);
  });
}
