import { test } from 'tap';
import { growth } from './soak/samples.ts';

test('memory is flat when the last quarter needs little more than the one before', async (t) => {
  const samples = (rssAt: (minute: number) => number) =>
    Array.from({ length: 41 }, (_, at) => ({ at, rss: rssAt(at) * 2 ** 20, descriptors: 20 }));
  t.equal(growth(samples((minute) => (minute < 15 ? minute * 10 : 150))), null, 'grown at the beginning only');
  t.equal(growth(samples((minute) => 150 + (minute % 3) * 30)), null, 'up and down');
  t.match(growth(samples((minute) => 100 + minute * 3)), /175 MB in the third quarter, 205 MB in the last/);
});
