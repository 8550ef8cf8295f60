import { test } from 'tap';
import { Tally } from '../../src/workers/tally.ts';

test('the least busy worker has the fewest connections; equals take turns', async (t) => {
  const tally = Tally.make(3);
  t.same([tally.leastBusy(-1), tally.leastBusy(0), tally.leastBusy(2)], [0, 1, 0]);
  tally.add(0, 2);
  tally.add(1, 1);
  t.equal(tally.leastBusy(2), 2);
  tally.add(2, 2);
  t.equal(tally.leastBusy(0), 1);
});

test('workers without a link get nothing while another has one', async (t) => {
  const tally = Tally.make(3);
  tally.setReady(1, true);
  tally.add(1, 100);
  t.equal(tally.leastBusy(0), 1);
  tally.setReady(2, true);
  t.equal(tally.leastBusy(0), 2);
  tally.setReady(1, false);
  tally.setReady(2, false);
  t.equal(tally.leastBusy(0), 2, 'all of them when none has one');
});

test('the limit holds for all workers together, and a place that is given back is free for another', async (t) => {
  const tally = Tally.make(2);
  const [one, other] = [tally.streams(0), tally.streams(1)];
  t.same([one.claim(3), other.claim(3), one.claim(3), other.claim(3), one.claim(3)], [true, true, true, false, false]);
  t.equal(tally.connections, 3);
  one.release();
  t.equal(other.claim(3), true);
  t.equal(tally.connections, 3);
});

test('a client’s connection is counted when it is given to the worker, and only claimed there', async (t) => {
  const tally = Tally.make(2);
  const counts = [tally.accepted(0), tally.accepted(1)];
  for (const [worker, allowed] of [
    [0, true],
    [1, true],
    [0, false],
  ] as const) {
    tally.add(worker, 1);
    t.equal(counts[worker]!.claim(2), allowed);
  }
  t.equal(tally.connections, 2);
});

test('what is run exclusively gives its result, its error, and the lock back', async (t) => {
  const tally = Tally.make(1);
  t.equal(
    tally.exclusively(() => 5),
    5,
  );
  t.throws(
    () =>
      tally.exclusively(() => {
        throw new Error('inside');
      }),
    { message: 'inside' },
  );
  t.equal(
    tally.exclusively(() => 6),
    6,
  );
});
