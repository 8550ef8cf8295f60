import { createCipheriv } from 'node:crypto';
import { test } from 'tap';
import { hmacSha256 } from '../../../src/identity/secret.ts';
import { MAX_AHEAD } from '../../../src/protocol/delivery/arrivals.ts';
import { isGenuineParity, PARITY_HEADER, signParity } from '../../../src/protocol/delivery/parity-shard.ts';
import { ShardTags } from '../../../src/protocol/delivery/shard-tag.ts';
import { BLOCK_IDS, SHARD_TAG_AT } from '../../../src/protocol/shard.ts';
import { integerBetween, randomBytes, seededRandom } from '../../support/random.ts';
import { shard } from '../shards.ts';

const KEY = Uint8Array.from({ length: 16 }, (_, i) => i);

class Tags extends ShardTags {
  readonly asked: number[];

  constructor(key = KEY) {
    const asked: number[] = [];
    const cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
    super((blocks) => {
      asked.push(blocks.length);
      return cipher.update(blocks);
    });
    this.asked = asked;
  }

  signed(number: number, { count = 12, index = 3, length = 15_000, size = 1_322 } = {}): Uint8Array {
    const datagram = shard({ count, index, length, blockId: (number - index) % BLOCK_IDS }, new Uint8Array(size).fill(number));
    this.write(datagram, datagram.length, number);
    return datagram;
  }

  takes(datagram: Uint8Array, near: number): boolean {
    return this.isGenuine(datagram, 0, datagram.length, near);
  }
}

test('a tag is what the protocol says', async (t) => {
  const number = 2 ** 24 + 77_777;
  const datagram = new Tags().signed(number, { count: 16, index: 15, length: 16_383, size: 1_093 });
  const words = (page: number, blocks: number): number[] => {
    const counter = Buffer.alloc(16);
    counter.writeBigUInt64BE(BigInt(page));
    const stream = createCipheriv('aes-128-ctr', KEY, counter).update(Buffer.alloc(16 * blocks));
    return Array.from({ length: 4 * blocks }, (_, i) => stream.readUInt32BE(4 * i));
  };
  const [a, b, c, d, e, f, g, h] = words(2 ** 48, 2).map(BigInt) as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const [place, length, size] = [16n * 256n + 15n, 16_383n, 1_093n];
  const high = ((a * place + b * length + c * size + d) % 2n ** 32n) >> 16n;
  const low = ((e * place + f * length + g * size + h) % 2n ** 32n) >> 16n;
  const pad = words(Math.floor(number / 512), 128)[number % 512]!;
  const expected = (high * 65_536n + low) ^ BigInt(pad);
  t.equal(Buffer.from(datagram).readUInt32BE(SHARD_TAG_AT), Number(expected));
});

test('what the peer has made is taken, in any order, also behind and where numbers wrap', async (t) => {
  const random = seededRandom(1);
  const [sender, receiver] = [new Tags(), new Tags()];
  for (const near of [0, 700, BLOCK_IDS - 5, BLOCK_IDS + 5, 2 ** 40 + 3]) {
    for (let n = 0; n < 200; n++) {
      const number = Math.max(3, near + integerBetween(random, -MAX_AHEAD, MAX_AHEAD));
      const size = integerBetween(random, 1, 16_383);
      const datagram = sender.signed(number, { count: 4, index: 3, length: integerBetween(random, 0, 65_535), size });
      if (!receiver.takes(datagram, near)) t.fail(`${number}, near ${near}`);
      const run = Buffer.concat([new Uint8Array(9), datagram, new Uint8Array(9)]);
      if (!receiver.isGenuine(run, 9, datagram.length, near)) t.fail(`${number} within a run`);
    }
  }
});

test('a header with a bit changed, another length, or under another number is not', async (t) => {
  const tags = new Tags();
  const genuine = tags.signed(1_000);
  for (let bit = 8 * 17; bit < 8 * 28; bit++) {
    const forged = Uint8Array.from(genuine);
    forged[bit >>> 3]! ^= 1 << (bit & 7);
    t.notOk(tags.takes(forged, 1_000), `bit ${bit}`);
  }
  for (let length = 0; length < genuine.length; length++)
    if (tags.isGenuine(genuine, 0, length, 1_000)) t.fail(`cut to ${length} bytes`);
  t.notOk(tags.takes(Uint8Array.of(...genuine, 0), 1_000), 'longer');
  const moved = tags.signed(1_001);
  moved.set(genuine.subarray(SHARD_TAG_AT, SHARD_TAG_AT + 4), SHARD_TAG_AT);
  t.notOk(tags.takes(moved, 1_000), 'the tag of another');
  t.notOk(tags.takes(genuine, 1_000 + BLOCK_IDS), 'the same bytes when the numbers have wrapped');
  t.notOk(new Tags(KEY.map((byte) => byte ^ 1)).takes(genuine, 1_000), 'of another key');
});

test('guesses are wrong, and far ahead they cost nothing', async (t) => {
  const random = seededRandom(2);
  const tags = new Tags();
  let taken = 0;
  for (let n = 0; n < 20_000; n++) {
    const forged = tags.signed(5_000 + (n % 100), { size: 10 });
    forged.set(randomBytes(random, 4), SHARD_TAG_AT);
    if (tags.takes(forged, 5_000)) taken++;
  }
  t.equal(taken, 0);
  const before = tags.asked.length;
  const far = shard({ count: 1, index: 0, length: 1, blockId: 5_001 + MAX_AHEAD }, Uint8Array.of(1));
  t.notOk(tags.takes(far, 5_000));
  t.equal(tags.asked.length, before, 'no pad was made for it');
  for (let number = 5_000; number < 5_100; number++) tags.signed(number);
  t.equal(tags.asked.length, before, 'nor anew for what is in use');
});

test('a parity shard’s tag is of all its bytes', async (t) => {
  const datagram = randomBytes(seededRandom(3), PARITY_HEADER + 100);
  signParity(datagram, hmacSha256, KEY);
  const isGenuine = (bytes: Uint8Array, key = KEY): boolean => isGenuineParity(bytes, 0, bytes.length, hmacSha256, key);
  t.ok(isGenuine(datagram));
  for (let at = 0; at < datagram.length; at++) {
    const forged = Uint8Array.from(datagram);
    forged[at]! ^= 0x10;
    if (isGenuine(forged)) t.fail(`byte ${at}`);
  }
  for (let length = 0; length < datagram.length; length++) if (isGenuine(datagram.subarray(0, length))) t.fail(`${length} bytes`);
  t.notOk(isGenuine(datagram, KEY.subarray(1)));
});
