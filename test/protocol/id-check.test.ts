import { test } from 'tap';
import { hasCheck, idCheck, writeCheck } from '../../src/protocol/id-check.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

test('a check is what the protocol says', async (t) => {
  const random = seededRandom(1);
  for (let n = 0; n < 100; n++) {
    const [key, id] = [randomBytes(random, 32), randomBytes(random, 16)];
    const words = (bytes: Uint8Array, count: number): bigint[] =>
      Array.from({ length: count }, (_, i) => BigInt(Buffer.from(bytes).readUInt32BE(4 * i)));
    const [a, b, c] = words(key, 3) as [bigint, bigint, bigint];
    const [first, second] = words(id, 2) as [bigint, bigint];
    const expected = ((a * first + b * second + c) % 2n ** 32n) >> 16n;
    const before = Uint8Array.from(id);
    writeCheck(idCheck(key), id);
    t.equal(Buffer.from(id).readUInt16BE(8), Number(expected));
    t.equal(Buffer.compare(id.subarray(0, 8), before.subarray(0, 8)) + Buffer.compare(id.subarray(10), before.subarray(10)), 0);
    t.ok(hasCheck(idCheck(key), id));
  }
});

test('guesses have it once in 65,536, whatever is left the same', async (t) => {
  const random = seededRandom(2);
  let right = 0;
  for (let n = 0; n < 300_000; n++) {
    const id = new Uint8Array(16).fill(n & 0xff);
    if (hasCheck(idCheck(randomBytes(random, 12)), id)) right++;
  }
  t.ok(right < 20, `${right} of 300,000`);
});
