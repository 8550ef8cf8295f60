import { test } from 'tap';
import { DESCRIPTORS, growth, MEMORY } from './soak/samples.ts';

test('memory is flat when the last quarter needs little more than those before', async (t) => {
  const samples = (rssAt: (minute: number) => number) =>
    Array.from({ length: 41 }, (_, at) => ({ at, rss: rssAt(at) * 2 ** 20, descriptors: 20 }));
  t.equal(
    growth(
      samples((minute) => (minute < 15 ? minute * 10 : 150)),
      MEMORY,
    ),
    null,
    'grown at the beginning only',
  );
  t.equal(
    growth(
      samples((minute) => 150 + (minute % 3) * 30),
      MEMORY,
    ),
    null,
    'up and down',
  );
  t.match(
    growth(
      samples((minute) => 100 + minute * 3),
      MEMORY,
    ),
    /175 MB in a quarter at most, 205 MB in the last/,
  );
});

test('so are descriptors', async (t) => {
  const samples = (descriptorsAt: (minute: number) => number) =>
    Array.from({ length: 41 }, (_, at) => ({ at, rss: 0, descriptors: descriptorsAt(at) }));
  t.equal(
    growth(
      samples((minute) => 100 + (minute % 5) * 10),
      DESCRIPTORS,
    ),
    null,
    'up and down',
  );
  t.match(
    growth(
      samples((minute) => 20 + minute * 2),
      DESCRIPTORS,
    ),
    /70 descriptors in a quarter at most, 90 descriptors in the last/,
  );
});
