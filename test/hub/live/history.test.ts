import { test } from 'tap';
import { History } from '../../../src/hub/live/history.ts';

test('keeps the last samples of each thing, with gaps where it was not there', async (t) => {
  const history = new History({ length: 3, most: 10 });
  t.same(history.times(), []);
  t.equal(history.read('a'), null);
  history.add(10, new Map([['a', { x: 1 }]]));
  history.add(20, new Map([['b', { x: 7 }]]));
  t.same(history.times(), [10, 20]);
  t.same(history.read('a'), { x: [1, null] });
  t.same(history.read('b'), { x: [null, 7] });
  history.add(30, new Map([['a', { x: 3, y: Number.NaN }]]));
  history.add(40, new Map([['a', { x: 4, y: 5 }]]));
  t.same(history.times(), [20, 30, 40]);
  t.same(history.read('a'), { x: [null, 3, 4], y: [null, null, 5] });
});

test('forgets what has not been there for its whole length, and takes no more things than it may', async (t) => {
  const history = new History({ length: 3, most: 2 });
  history.add(0, new Map(['a', 'b', 'c'].map((key) => [key, { x: 1 }])));
  t.same(history.keys(), ['a', 'b']);
  for (let now = 1; now <= 3; now++) history.add(now, new Map([['b', { x: now }]]));
  t.same(history.keys(), ['b']);
  history.add(4, new Map([['c', { x: 1 }]]));
  t.same(history.keys(), ['b', 'c'], 'and there is room again');
  history.add(5, new Map([['b', { x: 1 }]]));
  history.add(6, new Map(['b', 'd', 'e'].map((key) => [key, { x: 1 }])));
  t.same(history.keys(), ['b', 'd'], 'what is gone makes room before it is forgotten');
});
