import { test } from 'tap';
import type { Outcome } from '../../../src/protocol/delivery/flight.ts';
import { PathModel } from '../../../src/protocol/delivery/path-model.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';

const DATAGRAM = 1_350;

/** A model and a path that delivers at `rate` bytes a millisecond with a round trip of `rtt`, a report each round trip. */
class Path {
  readonly model: PathModel;
  rate: number;
  rtt: number;
  now = 1_000;
  delivered = 0;

  constructor(rtt: number, rate: number) {
    this.rtt = rtt;
    this.rate = rate;
    this.model = new PathModel(DATAGRAM, rtt, this.now);
  }

  /** Reports of the next round trip, in which the window was full. */
  round(figures: Partial<Outcome> = {}): this {
    const reports = 8;
    const before = this.delivered;
    for (let i = 0; i < reports; i++) {
      this.now += this.rtt / reports;
      // What one window brings, as far as the path takes it.
      const rate = Math.min(this.model.window / this.rtt, this.rate);
      const delivered = (rate * this.rtt) / reports;
      this.delivered += delivered;
      const queue = Math.max(0, this.model.window / this.rate - this.rtt) / 2;
      const outcome = {
        rtt: this.rtt + queue,
        rate,
        limited: false,
        delivered,
        deliveredThen: i === 0 ? before : -1,
        lost: 0,
        ...figures,
      };
      this.model.handleReport(outcome, this.delivered, Math.min(this.model.window, this.rate * this.rtt), this.now);
    }
    return this;
  }

  rounds(count: number, figures?: Partial<Outcome>): this {
    for (let i = 0; i < count; i++) this.round(figures);
    return this;
  }
}

test('start-up ends when the rate no longer rises, with the path’s rate and round trip known', async (t) => {
  for (const [rtt, rate] of [
    [10, 25_000],
    [100, 12_500],
    [200, 1_000],
  ] as const) {
    const path = new Path(rtt, rate);
    t.equal(path.model.phase, 'startup');
    path.rounds(20);
    t.equal(path.model.phase, 'probe bandwidth');
    t.ok(Math.abs(path.model.rate / rate - 1) < 0.01, `${path.model.rate}`);
    t.equal(path.model.leastRtt, rtt);
    const product = rate * rtt;
    t.ok(
      path.model.window >= Math.min(2 * product, 8 * DATAGRAM) &&
        path.model.window <= Math.max(2.1 * product + 4 * rate, 8 * DATAGRAM),
    );
  }
});

test('an application with little to send neither ends start-up nor makes the path slower', async (t) => {
  const path = new Path(50, 10_000);
  path.rounds(50, { limited: true, rate: 10, delivered: 500 });
  t.equal(path.model.phase, 'startup');
  path.rounds(20);
  t.equal(path.model.phase, 'probe bandwidth');
  path.rounds(100, { limited: true, rate: 10, delivered: 500 });
  t.ok(path.model.rate > 9_900, `${path.model.rate}`);
});

test('of little that was sent much may be lost once: start-up ends when it happens again', async (t) => {
  const little = { limited: true, rate: 100, delivered: 2 * DATAGRAM };
  const lossy = { ...little, lost: 2 * DATAGRAM };
  const path = new Path(20, 12_500).rounds(5, little);
  path.rounds(1, lossy).rounds(3, little).rounds(1, lossy).rounds(3, little);
  t.equal(path.model.phase, 'startup');
  path.rounds(2, lossy).round(little);
  t.not(path.model.phase, 'startup');
});

test('loss alone does not slow down; a queue that overflows ends start-up', async (t) => {
  const lossy = new Path(50, 10_000).rounds(30, { lost: 2_500 });
  t.ok(lossy.model.rate > 9_900);
  t.ok(lossy.model.window > 900_000);
  const path = new Path(50, 1e9).rounds(2);
  t.equal(path.model.phase, 'startup');
  path.rounds(2, { lost: 1e7 });
  t.not(path.model.phase, 'startup');
});

test('the round trip is measured anew after ten seconds, with a smaller window for a moment', async (t) => {
  const path = new Path(50, 10_000).rounds(20);
  const seen = new Set<string>();
  let least = Infinity;
  // A queue of others stands: the least round trip is not seen again.
  for (let i = 0; i < 400; i++) {
    path.round({ rtt: 60 });
    seen.add(path.model.phase);
    least = Math.min(least, path.model.window);
  }
  t.ok(seen.has('probe rtt') && seen.has('probe bandwidth'));
  t.ok(least < 300_000, `${least}`);
  t.equal(path.model.leastRtt, 60);
  t.equal(path.model.phase === 'probe rtt', false, 'and goes on');
});

test('a probe of the round trip ends although nothing was sent for minutes', async (t) => {
  const path = new Path(50, 10_000).rounds(20);
  path.now += 300_000;
  path.round();
  path.now += 300_000;
  path.rounds(10);
  t.equal(path.model.phase, 'probe bandwidth');
});

test('a path on which the round trip has become much longer is started up on again', async (t) => {
  const path = new Path(10, 10_000).rounds(30);
  path.rtt = 100;
  path.rounds(125);
  t.ok(path.model.leastRtt >= 100);
  path.rounds(10);
  t.ok(path.model.window > 1.5 * 10_000 * 100, `${path.model.window}`);
});

test('without a report there is a window, and a pace of some such windows each round trip', async (t) => {
  for (const rtt of [0, 0.05, 1, 100]) {
    const model = new PathModel(DATAGRAM, rtt, 0);
    t.ok(model.window >= 8 * DATAGRAM && model.window < 200_000);
    t.ok(model.pacingRate > 0 && model.pacingRate < Infinity);
    t.ok(model.silence >= 25 && model.silence >= rtt);
    t.equal(model.product, 0);
    t.equal(model.rate, 0);
  }
});

test('a path too short for timers is not paced, and its window shrinks when much is lost', async (t) => {
  const path = new Path(0.1, 100_000).rounds(200);
  t.equal(path.model.pacingRate, Infinity);
  const { window } = path.model;
  t.ok(window >= 1_000_000, `${window}`);
  path.rounds(30, { lost: 5_000 });
  t.ok(path.model.window < 0.6 * window, `${path.model.window}`);
  path.rounds(200);
  t.ok(path.model.window >= 1_000_000, `${path.model.window}`);
});

test('whatever reports say, all figures stay numbers within bounds', async (t) => {
  const random = seededRandom(5);
  const ODD = [NaN, 0, 1, -1, 1e-9, 1e9, 1e15, Infinity, 50, 1_000];
  const any = (): number => ODD[integerBetween(random, 0, ODD.length - 1)]!;
  let wrong = 0;
  for (let round = 0; round < 2_000; round++) {
    const model = new PathModel(DATAGRAM, [0, 10, 1_000][round % 3]!, 0);
    let now = 0;
    for (let i = 0; i < 30; i++) {
      now += random() * 2_000;
      const rtt = random() < 0.5 ? NaN : random() * 10 ** integerBetween(random, -3, 5);
      const rate = random() < 0.5 ? NaN : random() * 10 ** integerBetween(random, -6, 9);
      const counts = { delivered: Math.abs(any()) || 0, lost: Math.abs(any()) || 0, deliveredThen: any() };
      if (counts.delivered === Infinity) counts.delivered = 0;
      if (counts.lost === Infinity) counts.lost = 0;
      model.handleReport({ rtt, rate, limited: random() < 0.5, ...counts }, random() * 1e12, random() * 1e8, now);
      const { window, pacingRate, silence, reordering, smoothedRtt, rate: known } = model;
      const isSane =
        window >= 8 * DATAGRAM &&
        window <= 33 << 20 &&
        pacingRate > 0 &&
        silence >= 25 &&
        silence < Infinity &&
        reordering >= 1 &&
        reordering <= 20 &&
        smoothedRtt >= 0 &&
        smoothedRtt < Infinity &&
        known >= 0 &&
        known < Infinity;
      if (!isSane && wrong++ === 0) t.comment(JSON.stringify({ window, pacingRate, silence, reordering, smoothedRtt, known }));
    }
  }
  t.equal(wrong, 0);
});
