import { test } from 'tap';
import { LossPattern, MOST_DATA, shareBeyond } from '../../../src/protocol/delivery/loss-pattern.ts';
import { seededRandom } from '../../support/random.ts';

test('single losses are binomial', async (t) => {
  // A burst of 1 / (1 − rate) on average is what independent losses make.
  const rate = 0.05;
  const burst = 1 / (1 - rate);
  t.ok(Math.abs(shareBeyond(10, 0, rate, burst) - (1 - 0.95 ** 10)) < 1e-12);
  t.ok(Math.abs(shareBeyond(10, 1, rate, burst) - (1 - 0.95 ** 10 - 10 * rate * 0.95 ** 9)) < 1e-12);
  t.ok(Math.abs(shareBeyond(1, 0, rate, burst) - rate) < 1e-12);
});

test('bursts are as a path with bursts makes them', async (t) => {
  const random = seededRandom(1);
  const [rate, burst, n, p, rounds] = [0.05, 3, 12, 2, 200_000];
  let beyond = 0;
  let inBurst = random() < rate;
  for (let round = 0; round < rounds; round++) {
    let lost = 0;
    for (let i = 0; i < n; i++) {
      if (inBurst) lost++;
      inBurst = inBurst ? random() >= 1 / burst : random() < rate / (burst * (1 - rate));
    }
    if (lost > p) beyond++;
  }
  t.ok(Math.abs(beyond / rounds - shareBeyond(n, p, rate, burst)) < 0.005, `${beyond / rounds}`);
});

test('a clean path needs no parity, a worse one more, a group with bursts more than one without', async (t) => {
  const needs = (lost: number, bursts: number): number[] => {
    const pattern = new LossPattern();
    pattern.add(10_000, lost, bursts);
    return Array.from({ length: MOST_DATA }, (_, i) => pattern.parityFor(i + 1));
  };
  t.ok(needs(0, 0).every((p) => p === 0));
  const [one, five, bursts] = [needs(100, 100), needs(500, 500), needs(500, 170)];
  for (let k = 1; k <= MOST_DATA; k++) {
    t.ok(one[k - 1]! <= five[k - 1]! && five[k - 1]! <= k && bursts[k - 1]! <= k, `${k} data shards`);
  }
  t.ok(one.at(-1)! > 0 && one.at(-1)! < five.at(-1)! && five.at(-1)! < bursts.at(-1)!);
});

test('what was lost long ago is forgotten, and what needs nothing any more gets nothing', async (t) => {
  const pattern = new LossPattern();
  pattern.add(1_000, 50, 50);
  t.ok(pattern.parityFor(MOST_DATA) > 0);
  for (let i = 0; i < 20; i++) pattern.add(1_000, 0, 0);
  t.ok(pattern.rate < 1e-4);
  t.equal(pattern.parityFor(MOST_DATA), 0);
});

test('whatever was counted, the share stays one', async (t) => {
  const pattern = new LossPattern();
  pattern.add(0, 1_000_000, 1);
  t.ok(pattern.rate < 1);
  t.ok(pattern.parityFor(5) <= 5);
});
