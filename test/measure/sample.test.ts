import { test } from 'tap';
import { CAPACITY, Sample } from '../../src/measure/sample.ts';
import { seededRandom } from '../support/random.ts';

test('percentiles are those of nearest rank, whatever the order', async (t) => {
  const sample = new Sample();
  for (let value = 1000; value >= 1; value--) sample.record(value);
  t.same(sample.percentiles(), { count: 1000, p50: 500, p90: 900, p99: 990, p999: 999, max: 1000 });
});

test('between two ranks it is the higher one: no smaller share than asked for lies below', async (t) => {
  const sample = new Sample();
  for (const value of [30, 10, 20]) sample.record(value);
  t.same(sample.percentiles(), { count: 3, p50: 20, p90: 30, p99: 30, p999: 30, max: 30 });
});

test('one value is every percentile; none gives none; a microsecond is the finest', async (t) => {
  const sample = new Sample();
  t.equal(sample.percentiles(), null);
  sample.record(0.0214567);
  t.same(sample.percentiles(), { count: 1, p50: 0.021, p90: 0.021, p99: 0.021, p999: 0.021, max: 0.021 });
});

test('more than fit: all are counted, the largest is kept, and what is kept stands for all', async (t) => {
  const sample = new Sample(seededRandom(7));
  const count = CAPACITY * 2;
  sample.record(1e6);
  // Ascending, so that keeping the first ones only, or the last ones, would show.
  for (let value = 1; value < count; value++) sample.record(value / count);
  const found = sample.percentiles()!;
  t.equal(found.count, count);
  t.equal(found.max, 1e6);
  t.ok(Math.abs(found.p50 - 0.5) < 0.01, `p50 ${found.p50}`);
  t.ok(Math.abs(found.p90 - 0.9) < 0.01, `p90 ${found.p90}`);
});
