import { test } from 'tap';
import { PathMtu } from '../../../src/protocol/delivery/path-mtu.ts';

const SIZES = [1_350, 1_452, 1_472, 8_216];
const RTT = 20;

/** Lets time pass for as long as something is probed within ten seconds; the path carries up to `limit` bytes. Returns the sizes probed. */
function search(mtu: PathMtu, limit: number, from = 0): { probed: number[]; now: number } {
  const probed: number[] = [];
  let now = from;
  while (mtu.deadline - now < 10_000) {
    now = Math.max(now, mtu.deadline);
    const size = mtu.poll(now, RTT);
    if (size === 0) continue;
    probed.push(size);
    if (size <= limit) mtu.handleAnswer(size, now + RTT);
  }
  return { probed, now };
}

test('it goes up as far as probes are answered, and asks thrice before it stops', async (t) => {
  const mtu = new PathMtu(SIZES, 0);
  t.equal(mtu.size, 1_350);
  const { probed, now } = search(mtu, 1_472);
  t.equal(mtu.size, 1_472);
  t.same(probed, [1_452, 1_472, 8_216, 8_216, 8_216]);
  const later = search(mtu, 10_000, mtu.deadline);
  t.ok(later.now - now >= 600_000, 'it tries again after ten minutes');
  t.equal(mtu.size, 8_216);
  t.equal(mtu.deadline, Infinity, 'there is nothing larger');
});

test('one lost probe is not the end', async (t) => {
  const mtu = new PathMtu(SIZES, 0);
  t.equal(mtu.poll(0, RTT), 1_452);
  t.equal(mtu.poll(0, RTT), 0, 'not before the answer has had its time');
  t.equal(mtu.poll(mtu.deadline, RTT), 1_452);
  t.ok(mtu.handleAnswer(1_452, 700));
  t.equal(mtu.size, 1_452);
});

test('answers that nobody waits for change nothing', async (t) => {
  const mtu = new PathMtu(SIZES, 0);
  t.notOk(mtu.handleAnswer(1_452, 0), 'before it was asked');
  mtu.poll(0, RTT);
  t.notOk(mtu.handleAnswer(8_216, 0), 'another size');
  t.ok(mtu.handleAnswer(1_452, 10));
  t.notOk(mtu.handleAnswer(1_452, 10), 'a copy');
  t.equal(mtu.size, 1_452);
});

test('a black hole: back to the beginning, and up again after a minute', async (t) => {
  const mtu = new PathMtu(SIZES, 0);
  t.notOk(mtu.handleBlackHole(0), 'there is nothing smaller');
  const { now } = search(mtu, 10_000);
  t.equal(mtu.size, 8_216);
  t.ok(mtu.handleBlackHole(now));
  t.equal(mtu.size, 1_350);
  t.equal(mtu.poll(now, RTT), 0);
  search(mtu, 1_452, now + 60_000);
  t.equal(mtu.size, 1_452);
});

test('one size is never probed', async (t) => {
  const mtu = new PathMtu([1_350], 0);
  t.equal(mtu.deadline, Infinity);
  t.equal(mtu.poll(1e9, RTT), 0);
});
