import { test } from 'tap';
import { Backoff } from '../../src/protocol/backoff.ts';
import { seededRandom } from '../support/random.ts';

test('delays double from the initial one up to the maximum, between half and all of it', async (t) => {
  const least = new Backoff(100, 5_000, () => 0);
  const most = new Backoff(100, 5_000, () => 0.999_999);
  for (const ceiling of [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]) {
    t.equal(least.next(), ceiling / 2);
    const delay = most.next();
    t.ok(delay < ceiling && delay > 0.99 * ceiling, `${delay} is just under ${ceiling}`);
  }
});

test('the cap holds however often it fails', async (t) => {
  const random = seededRandom(1);
  const backoff = new Backoff(1, 30_000, random);
  for (let i = 0; i < 20_000; i++) {
    const delay = backoff.next();
    if (!(delay >= 0.5 && delay < 30_000)) return void t.fail(`${delay} after ${i} failures`);
    if (i > 20 && delay < 15_000) return void t.fail(`${delay} is under half the cap`);
  }
});

test('an initial delay above the maximum is cut to it', async (t) => {
  t.equal(new Backoff(500, 200, () => 0).next(), 100);
});

test('reset begins again', async (t) => {
  const backoff = new Backoff(100, 5_000, () => 0);
  for (let i = 0; i < 50; i++) backoff.next();
  backoff.reset();
  t.equal(backoff.next(), 50);
  t.equal(backoff.next(), 100);
});

test('clients that failed together do not come back together; the same seed gives the same delays', async (t) => {
  t.same(delays(3), delays(3));
  const spread = Array.from({ length: 200 }, (_, seed) => delays(seed)[0]!).map((delay) => Math.floor((delay - 500) / 50));
  t.equal(new Set(spread).size, 10, '200 clients fall into every tenth of the span');
});

function delays(seed: number): number[] {
  const backoff = new Backoff(1_000, 1_000, seededRandom(seed));
  return Array.from({ length: 20 }, () => backoff.next());
}
