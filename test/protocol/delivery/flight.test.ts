import { test } from 'tap';
import { Flight, type Outcome } from '../../../src/protocol/delivery/flight.ts';
import { MAX_DELAY, type Report } from '../../../src/protocol/delivery/report.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';
import { CountingPool } from '../shards.ts';

const FULL = 1_350;
const LAST = 1_000;
const REORDERING = 2;

/** A flight whose peer reports what a test says. Time is in milliseconds; the peer's clock is ahead by `CLOCK_AHEAD`. */
class Sender {
  readonly pool = new CountingPool();
  readonly flight = new Flight(this.pool);
  now = 1_000;
  #number = 0;

  /** Sends a block; its last shard is shorter. */
  send(count: number): void {
    const length = count * FULL;
    this.flight.add({ bytes: this.pool.take(length), length, count, share: FULL, missing: count }, FULL, LAST, this.now);
  }

  sendMany(blocks: number, count = 1): void {
    for (let i = 0; i < blocks; i++) this.send(count);
  }

  report(report: Partial<Report>): Outcome {
    const clock = ((this.now + CLOCK_AHEAD) * 1_000) % 2 ** 32;
    const whole = {
      number: ++this.#number,
      clock,
      delay: 0,
      latest: 0,
      bytes: 0,
      forward: 0,
      cumulative: 0,
      restored: 0,
      bursts: 0,
      ranges: [],
      ...report,
    };
    return this.flight.handleReport(whole, this.now, REORDERING);
  }

  /** The numbers of what is sent again now. */
  resend(): number[] {
    const shards: number[] = [];
    for (let lost = this.flight.takeLost(this.now); lost !== null; lost = this.flight.takeLost(this.now)) {
      shards.push(lost.first + lost.index);
    }
    return shards;
  }
}

const CLOCK_AHEAD = 5_000_000;

test('what has come is given back once all of its block has', async (t) => {
  const sender = new Sender();
  sender.send(3);
  sender.send(1);
  t.equal(sender.flight.bytes, 2 * FULL + 2 * LAST);
  t.same([sender.flight.next, sender.flight.oldest, sender.flight.shards], [4, 0, 4]);
  sender.now += 20;
  t.match(sender.report({ cumulative: 2, latest: 1 }), { delivered: 2 * FULL, lost: 0, rtt: 20 });
  t.equal(sender.pool.used, 2);
  t.same([sender.flight.bytes, sender.flight.oldest], [2 * LAST, 2]);
  t.match(sender.report({ cumulative: 4, latest: 3 }), { delivered: 2 * LAST, rtt: 20 });
  t.equal(sender.pool.used, 0);
  t.same([sender.flight.bytes, sender.flight.delivered, sender.flight.shards], [0, 2 * FULL + 2 * LAST, 0]);
});

test('a report that says what is known already brings nothing', async (t) => {
  const sender = new Sender();
  sender.sendMany(4);
  sender.now += 5;
  sender.report({ cumulative: 2, ranges: [1, 1], latest: 3 });
  t.match(sender.report({ cumulative: 2, ranges: [1, 1], latest: 3 }), {
    delivered: 0,
    lost: 0,
    rtt: NaN,
    rate: NaN,
    deliveredThen: -1,
  });
  t.match(sender.report({ cumulative: 0, latest: 3 }), { delivered: 0 }, 'nor does one from before');
  t.equal(sender.flight.bytes, LAST);
});

test('a shard is lost when one has come that was sent enough later', async (t) => {
  const sender = new Sender();
  sender.send(1);
  sender.now += REORDERING;
  sender.send(1);
  sender.now += 10;
  t.match(sender.report({ cumulative: 0, ranges: [1, 1], latest: 1 }), { lost: 0 }, 'it may have been overtaken');
  sender.now += 1;
  sender.send(1);
  sender.now += 10;
  t.match(sender.report({ cumulative: 0, ranges: [1, 2], latest: 2 }), { lost: LAST });
  t.equal(sender.flight.bytes, 0);
  t.ok(sender.flight.hasLost);
  t.equal(sender.pool.used, 1, 'it is kept');
  t.same(sender.resend(), [0]);
  t.equal(sender.flight.bytes, LAST);
  t.notOk(sender.flight.hasLost);
  sender.now += 10;
  sender.report({ cumulative: 3, latest: 0 });
  t.same([sender.flight.bytes, sender.pool.used, sender.flight.shards], [0, 0, 0]);
  t.same(sender.flight.losses.counts, { sent: 4, lost: 1, bursts: 1 });
});

test('a shard overtaken by one sent at the same time is lost when that much time has passed again', async (t) => {
  const sender = new Sender();
  sender.sendMany(3);
  const { flight } = sender;
  sender.now += 20;
  sender.report({ cumulative: 0, ranges: [1, 1], latest: 1 });
  t.equal(flight.overtakenUntil, sender.now + REORDERING + 4, 'and what the peer takes to report');
  sender.now += REORDERING + 3;
  flight.handleOvertaken(sender.now);
  t.notOk(flight.hasLost, 'it may still come');
  sender.now += 1;
  flight.handleOvertaken(sender.now);
  t.same(sender.resend(), [0], 'the last of the three was not overtaken');
  t.equal(flight.overtakenUntil, Infinity);
  sender.now += 20;
  t.match(sender.report({ cumulative: 3, latest: 0 }), { lost: LAST, delivered: 2 * LAST });
  t.equal(flight.overtakenUntil, Infinity);
});

test('what comes in time was not lost', async (t) => {
  const sender = new Sender();
  sender.sendMany(2);
  sender.now += 20;
  sender.report({ cumulative: 0, ranges: [1, 1], latest: 1 });
  sender.now += 1;
  t.match(sender.report({ cumulative: 2, latest: 0 }), { lost: 0 });
  sender.now += 100;
  sender.flight.handleOvertaken(sender.now);
  t.notOk(sender.flight.hasLost);
  t.equal(sender.flight.losses.counts.lost, 0);
});

test('what is sent again and lost again is found lost again', async (t) => {
  const sender = new Sender();
  sender.sendMany(2);
  for (let times = 0; times < 600; times++) {
    sender.now += 10;
    sender.send(1);
    sender.now += 10;
    sender.report({ cumulative: 0, ranges: [1, sender.flight.next - 1], latest: sender.flight.next - 1 });
    if (sender.resend().join() !== '0') t.fail(`time ${times}`);
  }
  t.equal(sender.flight.bytes, LAST);
  t.equal(sender.flight.shards, 602, 'the numbers behind it are not given away');
  sender.now += 10;
  sender.report({ cumulative: sender.flight.next, latest: 0 });
  t.same([sender.flight.bytes, sender.flight.shards, sender.pool.used], [0, 0, 0]);
  sender.send(12);
  t.equal(sender.flight.bytes, 11 * FULL + LAST);
});

test('what was found lost and came after all is not sent again', async (t) => {
  const sender = new Sender();
  sender.sendMany(2);
  sender.now += 10;
  sender.send(1);
  sender.now += 10;
  sender.report({ cumulative: 0, ranges: [2, 1], latest: 2 });
  t.ok(sender.flight.hasLost);
  sender.report({ cumulative: 1, ranges: [1, 1], latest: 0 });
  t.same(sender.resend(), [1]);
  sender.now += 10;
  t.match(sender.report({ cumulative: 3, latest: 1 }), { rtt: NaN }, 'of which of the two it is the answer nobody knows');
  t.same([sender.flight.bytes, sender.pool.used], [0, 0]);
});

test('silence makes the oldest lost, one at a time', async (t) => {
  const sender = new Sender();
  sender.sendMany(3);
  sender.now += 100;
  sender.flight.handleSilence(sender.now);
  t.equal(sender.flight.progressAt, sender.now);
  t.same(sender.resend(), [0]);
  sender.flight.handleSilence(sender.now);
  sender.flight.handleSilence(sender.now);
  sender.flight.handleSilence(sender.now);
  t.same(sender.resend(), [0, 1, 2]);
  t.equal(sender.flight.bytes, 3 * LAST);
  sender.flight.handleSilence(sender.now);
  t.equal(sender.flight.bytes, 2 * LAST);
  sender.report({ cumulative: 3, latest: 2 });
  sender.flight.handleSilence(sender.now);
  t.same([sender.flight.bytes, sender.pool.used, sender.resend()], [0, 0, []]);
});

test('after an outage one answer tells of all that was lost in it', async (t) => {
  const sender = new Sender();
  sender.sendMany(100);
  for (let probe = 0; probe < 20; probe++) {
    sender.now += 500;
    sender.flight.handleSilence(sender.now);
    if (sender.resend().join() !== '0') t.fail(`probe ${probe}`);
  }
  sender.now += 20;
  t.match(sender.report({ cumulative: 1, latest: 0 }), { lost: 99 * LAST });
  t.equal(sender.resend().length, 99);
  t.equal(sender.flight.bytes, 99 * LAST);
});

test('the same when round trips have been measured before', async (t) => {
  const sender = new Sender();
  sender.sendMany(1);
  sender.now += 20;
  sender.report({ cumulative: 1, latest: 0 });
  sender.sendMany(100);
  sender.now += 500;
  sender.flight.handleSilence(sender.now);
  t.same(sender.resend(), [1]);
  sender.now += 20;
  t.match(sender.report({ cumulative: 2, latest: 1 }), { lost: 99 * LAST });
});

test('the rate is that of the path, not of the sender', async (t) => {
  const sender = new Sender();
  const rates: number[] = [];
  // Ten shards at once, of which one comes each millisecond.
  for (let i = 0; i < 10; i++) sender.send(1);
  sender.now += 20;
  for (let i = 1; i <= 200; i++) {
    sender.now += 1;
    const { rate } = sender.report({ cumulative: i, latest: i - 1 });
    rates.push(rate);
    sender.send(1);
  }
  t.ok(
    rates.slice(50).every((rate) => Math.abs(rate / LAST - 1) < 0.01),
    `${rates.at(-1)}`,
  );
});

test('an application that has little to send says nothing of the path', async (t) => {
  const sender = new Sender();
  sender.send(1);
  sender.flight.handleIdle();
  sender.now += 10;
  t.equal(sender.report({ cumulative: 1, latest: 0 }).limited, false, 'this was sent before');
  sender.flight.handleIdle();
  sender.send(1);
  sender.now += 10;
  t.equal(sender.report({ cumulative: 2, latest: 1 }).limited, true);
  for (let i = 2; i < 12; i++) {
    sender.send(1);
    sender.now += 10;
    sender.report({ cumulative: i + 1, latest: i });
  }
  sender.send(1);
  sender.now += 10;
  t.equal(sender.report({ cumulative: 13, latest: 12 }).limited, false);
});

test('what was little is little when it is sent again', async (t) => {
  const sender = new Sender();
  sender.send(1);
  sender.flight.handleIdle();
  sender.sendMany(3);
  sender.now += 10;
  sender.report({ cumulative: 1, latest: 0 });
  sender.send(1);
  sender.now += 10;
  // All has come but one, and with that more than the pause was marked for.
  sender.report({ cumulative: 1, ranges: [1, 3], latest: 4 });
  sender.flight.handleOvertaken(sender.now + 100);
  t.same(sender.resend(), [1]);
  sender.now += 10;
  t.match(sender.report({ cumulative: 5, latest: 1 }), { delivered: LAST, limited: true });
});

test('a round trip is measured without the time that the peer took, and not when it does not say', async (t) => {
  const sender = new Sender();
  sender.send(1);
  sender.now += 30;
  t.equal(sender.report({ cumulative: 1, latest: 0, delay: 4 }).rtt, 26);
  sender.send(1);
  sender.now += 5_000;
  t.match(sender.report({ cumulative: 2, latest: 1, delay: MAX_DELAY }), { rtt: NaN }, 'so long or longer');
  sender.send(1);
  sender.now += 3;
  t.equal(sender.report({ cumulative: 3, latest: 2, delay: 10 }).rtt, 0, 'never below nothing');
});

test('rates are measured after hours of silence, in which the peer’s clock went round', async (t) => {
  const HOUR = 3_600_000;
  for (const pause of [10_000, HOUR, 2 * HOUR, 100 * HOUR]) {
    const sender = new Sender();
    let come = 0;
    const run = (): number => {
      let rate = 0;
      sender.sendMany(10);
      sender.now += 20;
      for (let i = 0; i < 100; i++) {
        sender.now += 1;
        ({ rate } = sender.report({ cumulative: ++come, latest: come - 1 }));
        sender.send(1);
      }
      sender.now += 20;
      sender.report({ cumulative: (come = sender.flight.next), latest: come - 1 });
      return rate;
    };
    const before = run();
    sender.now += pause;
    const after = run();
    t.ok(Math.abs(after / before - 1) < 0.01, `${after} and ${before} after ${pause} ms`);
  }
});

test('a report of shards that were never sent counts for those that were', async (t) => {
  const sender = new Sender();
  sender.sendMany(3);
  sender.now += 10;
  t.match(sender.report({ cumulative: 1, ranges: [1, 1, 20_000, 1], latest: 20_003 }), { delivered: 2 * LAST });
  t.equal(sender.flight.bytes, LAST);
  t.match(sender.report({ cumulative: 2 ** 40, ranges: [65_535, 65_535], latest: 2 ** 50 }), { delivered: LAST });
  t.same([sender.flight.bytes, sender.flight.shards, sender.flight.next, sender.pool.used], [0, 0, 3, 0]);
  const empty = new Sender();
  t.match(empty.report({ cumulative: 5, latest: 4 }), { delivered: 0, lost: 0 });
  t.same([empty.flight.oldest, empty.flight.next], [0, 0]);
});

test('room for ever more shards, at every place in the ring', async (t) => {
  const sender = new Sender();
  let come = 0;
  for (const under of [100, 255, 257, 1_000, 5_000, 40_000]) {
    while (sender.flight.shards < under) sender.send(7);
    sender.now += 1;
    come += under >> 1;
    sender.report({ cumulative: come, latest: come - 1 });
  }
  t.equal(sender.flight.oldest, come);
  const before = sender.flight.bytes;
  sender.now += 50;
  sender.send(1);
  sender.now += 50;
  const last = sender.flight.next - 1;
  const { lost } = sender.report({ cumulative: come, ranges: [last - come, 1], latest: last });
  t.equal(lost, before);
  t.same(
    sender.resend(),
    Array.from({ length: last - come }, (_, i) => come + i),
    'each with the place that it has in its block',
  );
  sender.report({ cumulative: sender.flight.next, latest: last });
  t.same([sender.flight.bytes, sender.pool.used], [0, 0]);
});

test('giving up leaves nothing, and what comes of it later is no news', async (t) => {
  const sender = new Sender();
  sender.sendMany(50, 3);
  sender.now += 10;
  sender.report({ cumulative: 4, ranges: [10, 100], latest: 113 });
  t.ok(sender.flight.hasLost || sender.flight.bytes > 0);
  sender.flight.giveUp();
  t.same([sender.flight.bytes, sender.flight.shards, sender.pool.used, sender.flight.hasLost], [0, 0, 0, false]);
  t.match(sender.report({ cumulative: 150, latest: 149 }), { delivered: 0, lost: 0 });
  sender.send(2);
  sender.now += 10;
  t.match(sender.report({ cumulative: 152, latest: 151 }), { delivered: FULL + LAST, rtt: 10 });
  t.equal(sender.pool.used, 0);
});

test('closing gives all memory back, once', async (t) => {
  const sender = new Sender();
  sender.sendMany(50, 3);
  sender.flight.handleSilence(sender.now);
  sender.flight.close();
  t.equal(sender.pool.used, 0);
  sender.flight.close();
  t.equal(sender.pool.used, 0);
});

test('the bytes under way are what was sent and neither has come nor is lost, whatever reports say in whatever order', async (t) => {
  const random = seededRandom(11);
  for (let round = 0; round < 200; round++) {
    const sender = new Sender();
    const come = new Set<number>();
    for (let step = 0; step < 200; step++) {
      sender.now += random() * 5;
      const kind = random();
      if (kind < 0.4) sender.send(integerBetween(random, 1, 12));
      else if (kind < 0.5) sender.flight.handleSilence(sender.now);
      else if (kind < 0.7) sender.resend();
      else if (kind < 0.72) sender.flight.handleIdle();
      else sender.report(anyReport(random, sender.flight.next, come));
      const { bytes, oldest, next, delivered } = sender.flight;
      if (!(bytes >= 0 && bytes <= (next - oldest) * FULL && oldest <= next && delivered >= 0))
        t.fail(`round ${round}, step ${step}`);
    }
    sender.resend();
    const { next } = sender.flight;
    const { rate } = sender.report({ cumulative: next, latest: next - 1 });
    if (!(Number.isNaN(rate) || (rate > 0 && rate < Infinity))) t.fail(`a rate of ${rate}`);
    const { bytes, shards } = sender.flight;
    if (bytes !== 0 || shards !== 0 || sender.pool.used !== 0)
      t.fail(`round ${round}: ${bytes} bytes, ${sender.pool.used} buffers`);
  }
  t.pass('all came out even');
});

/** What a peer may say that has got some of what was sent, and what one may that lies. */
function anyReport(random: () => number, next: number, come: Set<number>): Partial<Report> {
  if (random() < 0.05) {
    const ranges = Array.from({ length: 2 * integerBetween(random, 0, 20) }, () => integerBetween(random, 0, 70));
    return {
      cumulative: integerBetween(random, -10, next >> 2),
      ranges,
      latest: integerBetween(random, -5, next + 5),
      clock: random() * 2 ** 32,
    };
  }
  for (let shard = 0; shard < next; shard++) if (random() < 0.1) come.add(shard);
  let cumulative = 0;
  while (come.has(cumulative)) cumulative++;
  const ranges: number[] = [];
  for (let at = cumulative; at < next && ranges.length < 600;) {
    const from = at;
    while (at < next && !come.has(at)) at++;
    const run = at;
    while (at < next && come.has(at)) at++;
    if (at > run) ranges.push(run - from, at - run);
  }
  return { cumulative, ranges, latest: Math.max(0, ...come) };
}
