import { test } from 'tap';
import { expand, WRAP } from '../../../src/protocol/delivery/serial.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';

test('a number is the one nearest to what is known, however often numbers have wrapped', async (t) => {
  const random = seededRandom(1);
  let wrong = 0;
  for (let i = 0; i < 100_000; i++) {
    const near = integerBetween(random, WRAP, 2 ** (24 + integerBetween(random, 1, 26)));
    const number = near + integerBetween(random, -WRAP / 2, WRAP / 2 - 1);
    if (expand(number % WRAP, near) !== number) wrong++;
  }
  t.equal(wrong, 0);
});

test('at the edges', async (t) => {
  t.equal(expand(0, 0), 0);
  t.equal(expand(0, WRAP - 1), WRAP);
  t.equal(expand(WRAP - 1, WRAP), WRAP - 1);
  t.equal(expand(WRAP / 2 - 1, 0), WRAP / 2 - 1, 'the farthest ahead');
  t.equal(expand(WRAP - 1, 0), -1, 'before the first there is none: it is older than all');
});
