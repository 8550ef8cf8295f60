import { createHmac } from 'node:crypto';
import { test } from 'tap';
import type { Hmac } from '../../src/protocol/handshake.ts';
import { RetryTokens } from '../../src/protocol/retry-token.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';

const hmac: Hmac = (key, ...parts) => {
  const sum = createHmac('sha256', key);
  for (const part of parts) sum.update(part);
  return sum.digest();
};
const TOKENS = new RetryTokens(hmac, new Uint8Array(32).fill(1));
const ORIGINAL = new Uint8Array(16).fill(2);
const NEW = new Uint8Array(16).fill(3);
const PEER = '192.0.2.1:443';
const NOW = 1_000_000;

test('a token gives the original id back, to the same client and for ten seconds', async (t) => {
  for (const length of [8, 16, 20]) {
    const original = new Uint8Array(length).fill(9);
    t.same(TOKENS.read(TOKENS.make(PEER, original, NEW, NOW), PEER, NEW, NOW), original);
  }
  const token = TOKENS.make(PEER, ORIGINAL, NEW, NOW);
  t.same(TOKENS.read(token, PEER, NEW, NOW + 10_000), ORIGINAL);
  t.equal(TOKENS.read(token, PEER, NEW, NOW + 11_000), null, 'later');
  t.equal(TOKENS.read(token, '192.0.2.1:444', NEW, NOW), null, 'another port');
  t.equal(TOKENS.read(token, '192.0.2.2:443', NEW, NOW), null, 'another address');
  t.equal(TOKENS.read(token, PEER, ORIGINAL, NOW), null, 'another id');
  const others = new RetryTokens(hmac, new Uint8Array(32).fill(2));
  t.equal(others.read(token, PEER, NEW, NOW), null, 'another server');
});

test('a token that was changed anywhere, and random bytes, are none', async (t) => {
  const token = TOKENS.make(PEER, ORIGINAL, NEW, NOW);
  for (let bit = 0; bit < 8 * token.length; bit++) {
    const other = Uint8Array.from(token);
    other[bit >>> 3]! ^= 1 << (bit & 7);
    if (TOKENS.read(other, PEER, NEW, NOW) !== null) t.fail(`bit ${bit}`);
  }
  for (let length = 0; length < token.length; length++) t.equal(TOKENS.read(token.subarray(0, length), PEER, NEW, NOW), null);
  const random = seededRandom(2);
  for (let n = 0; n < 5_000; n++)
    if (TOKENS.read(randomBytes(random, integerBetween(random, 0, 100)), PEER, NEW, NOW) !== null) t.fail(`round ${n}`);
});
