import { test } from 'tap';
import { TokenBucket } from '../../src/protocol/token-bucket.ts';
import { seededRandom } from '../support/random.ts';

test('what passes is the rate times the time, whatever the sizes, and a short silence at most is made up for', async (t) => {
  const random = seededRandom(1);
  const rate = 1_000_000;
  const bucket = new TokenBucket(rate, 0);
  const burst = bucket.available(0);
  t.equal(burst, 20_000, '20 ms');
  let passed = 0;
  let largest = 0;
  let now = 0;
  while (now < 100_000) {
    while (bucket.available(now) > 0) {
      const bytes = 1 + Math.floor(random() * 100_000);
      largest = Math.max(largest, bytes);
      bucket.take(bytes);
      passed += bytes;
    }
    const credit = burst + (rate * now) / 1000;
    if (passed > credit + largest) t.fail(`${passed} bytes after ${now} ms`);
    const wait = bucket.wait(now);
    t.equal(bucket.available(now + wait / 2) > 0, false, 'not before');
    now += wait;
    if (passed < (rate * now) / 1000 - 1) t.fail(`only ${passed} bytes after ${now} ms`);
  }
  t.ok(passed > 99 * rate);
  now += 60_000;
  t.equal(bucket.available(now), burst);
});

test('another rate counts from now on, and what was overdrawn is still owed', async (t) => {
  const bucket = new TokenBucket(1_000_000, 0);
  bucket.take(1_020_000);
  t.equal(Math.round(bucket.wait(0)), 1_000);
  bucket.setRate(10_000_000, 0);
  t.equal(Math.round(bucket.wait(0)), 100);
  bucket.setRate(Infinity, 0);
  t.equal(bucket.wait(0), 0);
  t.equal(bucket.available(0), Infinity);
  bucket.take(1e9);
  t.equal(bucket.available(0), Infinity);
  bucket.setRate(1_000_000, 5);
  t.equal(bucket.available(5), 20_000, 'a limit again');
  t.equal(bucket.available(4), 20_000, 'a clock that goes back gives nothing');
});

test('a share is a few milliseconds of the rate, within bounds', async (t) => {
  t.equal(new TokenBucket(1_000, 0).share, 1_400);
  t.equal(new TokenBucket(1_000_000, 0).share, 5_000);
  t.equal(new TokenBucket(Infinity, 0).share, 65_536);
});
