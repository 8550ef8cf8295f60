import { test } from 'tap';
import { SHARD_HEADER } from '../../../src/protocol/shard.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';
import { DATAGRAM, type PathConditions, type Side, SimulatedPair } from './simulated-pair.ts';

const MIB = 1024 * 1024;
/** What of a datagram is the packet's. */
const EFFICIENCY = (DATAGRAM - SHARD_HEADER) / DATAGRAM;

/** Sends from here to there without end; the goodput between `from` and `to`, in shares of what the path carries. */
function goodput(pair: SimulatedPair, from: number, to: number): number {
  pair.here.send(1e12);
  pair.run(from);
  const before = pair.there.receivedBytes;
  pair.run(to - from);
  return (pair.there.receivedBytes - before) / ((to - from) * pair.up.conditions.rate * EFFICIENCY);
}

/** Every packet came once, in order and as it was sent. */
const isExact = (from: Side, to: Side): boolean =>
  !from.waiting && to.received === from.sent && to.spoiled === 0 && to.misplaced === 0;

const PATHS: [name: string, conditions: Partial<PathConditions>, duration: number][] = [
  ['2 ms, 400 Mbit', { delay: 1, rate: 50_000, queue: 500_000 }, 1_000],
  ['10 ms, 200 Mbit', { delay: 5, rate: 25_000, queue: 250_000 }, 4_000],
  ['50 ms, 100 Mbit', { delay: 25, rate: 12_500, queue: 625_000 }, 6_000],
  ['100 ms, 100 Mbit', { delay: 50, rate: 12_500, queue: 1_250_000 }, 6_000],
  ['200 ms, 50 Mbit', { delay: 100, rate: 6_250, queue: 1_250_000 }, 10_000],
  ['30 ms, 2 Mbit', { delay: 15, rate: 250, queue: 30_000 }, 20_000],
  ['100 ms, 100 kbit', { delay: 50, rate: 12.5, queue: 40_000 }, 60_000],
];

for (const [name, conditions, duration] of PATHS) {
  test(`a clean path of ${name} is filled, and its queue is not`, async (t) => {
    const pair = new SimulatedPair(conditions);
    const share = goodput(pair, duration / 2, duration);
    const { delay, rate } = pair.up.conditions;
    t.ok(share >= 0.85, `${share.toFixed(3)} of the path`);
    pair.up.queued = pair.up.carried = pair.up.mostQueued = 0;
    pair.run(duration / 2);
    const mean = pair.up.queued / pair.up.carried;
    // A round trip at most, and what the smallest window is.
    const bound = Math.max(2 * delay, (16 * DATAGRAM) / rate) + 8;
    t.ok(mean <= bound, `${mean.toFixed(1)} ms in the queue`);
    t.equal(pair.there.misplaced + pair.there.spoiled, 0);
    pair.close();
  });

  for (const [loss, burst] of [
    [0.01, 1],
    [0.05, 1],
    [0.02, 3],
  ] as const) {
    test(`a path of ${name} that loses ${100 * loss} % in bursts of ${burst} is filled`, async (t) => {
      const pair = new SimulatedPair({ ...conditions, loss, burst }, 5);
      const share = goodput(pair, duration / 2, duration);
      t.ok(share >= 0.8 * (1 - loss), `${share.toFixed(3)} of the path`);
      t.equal(pair.there.misplaced + pair.there.spoiled, 0);
      pair.close();
    });
  }
}

test('a transfer ends, and then there is silence', async (t) => {
  const pair = new SimulatedPair();
  pair.here.send(3 * MIB);
  pair.there.send(2 * MIB);
  t.ok(pair.runTo(() => !pair.here.waiting && !pair.there.waiting, 10_000) < 10_000);
  t.ok(isExact(pair.here, pair.there) && isExact(pair.there, pair.here));
  pair.run(2_000);
  const before = [pair.here.turns, pair.there.turns, pair.here.datagrams, pair.there.datagrams];
  pair.run(600_000);
  t.same([pair.here.turns, pair.there.turns, pair.here.datagrams, pair.there.datagrams], before, 'no timer, no datagram');
  t.equal(pair.here.packetizer.deadline(), Infinity);
  pair.close();
});

test('a lone small packet takes no longer than the path', async (t) => {
  const pair = new SimulatedPair({ delay: 25 });
  for (let i = 1; i <= 50; i++) {
    pair.here.send(100);
    const took = pair.runTo(() => pair.there.received === i, 1_000);
    if (took > 27) t.fail(`${took} ms`);
    pair.run(37);
  }
  t.equal(pair.here.packetizer.path!.lost, 0, 'and none is sent twice');
  pair.close();
});

test('a lone small packet that is lost is sent again soon', async (t) => {
  const pair = new SimulatedPair({ delay: 10 });
  for (let i = 0; i < 20; i++) {
    pair.here.send(100);
    pair.run(100);
  }
  pair.up.conditions.down = true;
  pair.here.send(100);
  pair.run(5);
  pair.up.conditions.down = false;
  const took = pair.runTo(() => !pair.here.waiting, 1_000);
  t.ok(took < 100, `${took} ms`);
  pair.close();
});

for (const [what, direction] of [
  ['both directions', ['up', 'down']],
  ['the sender’s direction', ['up']],
  ['the direction of reports', ['down']],
] as const) {
  test(`an outage of ten seconds in ${what}: bytes come again within a second, at the path's rate within two`, async (t) => {
    const pair = new SimulatedPair({ delay: 25, rate: 5_000, queue: 500_000 });
    pair.here.send(1e12);
    pair.run(5_000);
    for (const each of direction) pair[each].conditions.down = true;
    pair.run(10_000);
    const { turns, datagrams } = pair.here;
    for (const each of direction) pair[each].conditions.down = false;
    const before = pair.there.receivedBytes;
    const took = pair.runTo(() => pair.there.receivedBytes > before + 100_000, 20_000);
    t.ok(took <= 1_000, `${took} ms`);
    pair.run(1_000);
    const then = pair.there.receivedBytes;
    pair.run(2_000);
    const share = (pair.there.receivedBytes - then) / (2_000 * 5_000 * EFFICIENCY);
    t.ok(share >= 0.75, `${share.toFixed(3)} of the path`);
    pair.here.backlog = 0;
    t.ok(pair.runTo(() => !pair.here.waiting, 5_000) < 5_000);
    t.ok(isExact(pair.here, pair.there));
    t.ok(turns < 40_000 && datagrams > 0, 'not a turn after another meanwhile');
    pair.close();
  });
}

test('during an outage little is sent and few turns are taken', async (t) => {
  const pair = new SimulatedPair({ delay: 25 });
  pair.here.send(1e12);
  pair.run(3_000);
  pair.set({ down: true });
  pair.run(1_000);
  const { turns, datagrams } = pair.here;
  pair.run(60_000);
  t.ok(pair.here.datagrams - datagrams <= 600, `${pair.here.datagrams - datagrams} datagrams`);
  t.ok(pair.here.turns - turns <= 1_000, `${pair.here.turns - turns} turns`);
  pair.close();
});

test('minutes of silence, then much at once', async (t) => {
  const pair = new SimulatedPair({ delay: 25, rate: 5_000, queue: 500_000 });
  pair.here.send(5 * MIB);
  pair.run(5_000);
  for (const pause of [9_000, 60_000, 3_600_000, 10 * 3_600_000]) {
    pair.run(pause);
    pair.here.send(5 * MIB);
    const took = pair.runTo(() => !pair.here.waiting, 10_000);
    t.ok(took < 1_800, `${took} ms for 5 MiB after ${pause} ms`);
  }
  t.ok(isExact(pair.here, pair.there));
  pair.close();
});

test('a path that changes is learned again: longer, slower, faster, shorter', async (t) => {
  const pair = new SimulatedPair({ delay: 5, rate: 10_000, queue: 300_000 });
  pair.here.send(1e12);
  pair.run(3_000);
  // A least round trip holds for ten seconds, a rate for ten round trips.
  for (const [what, change, within] of [
    ['ten times as long', { delay: 50 }, 15_000],
    ['a tenth of the rate', { rate: 1_000 }, 10_000],
    ['ten times the rate', { rate: 10_000 }, 12_000],
    ['a tenth as long', { delay: 5 }, 3_000],
  ] as const) {
    pair.set(change);
    pair.run(within);
    const before = pair.there.receivedBytes;
    pair.run(4_000);
    const share = (pair.there.receivedBytes - before) / (4_000 * pair.up.conditions.rate * EFFICIENCY);
    t.ok(share > 0.8, `${what}: ${share.toFixed(3)} of the path`);
  }
  pair.close();
});

test('many small packets over a long path that loses some: no more of them under way than numbers allow, and no stall', async (t) => {
  const pair = new SimulatedPair({ delay: 300, rate: 25_000, queue: 2e7, loss: 0.01 }, 3);
  pair.here.size = 60;
  pair.here.send(6 * MIB);
  const took = pair.runTo(() => !pair.here.waiting, 60_000);
  t.ok(took < 60_000, `${took} ms`);
  t.ok(isExact(pair.here, pair.there));
  pair.close();
});

test('whatever the path does: each packet comes once, in order and unchanged, and a path that works again brings all', async (t) => {
  for (let seed = 0; seed < 60; seed++) {
    const random = seededRandom(seed);
    const pair = new SimulatedPair({ delay: random() < 0.2 ? 0.5 : 1 + random() * 60, rate: 10 ** (1.5 + 2.5 * random()) }, seed);
    const sides = [pair.here, pair.there];
    for (let phase = 0; phase < 12; phase++) {
      pair.set(misfortune(random));
      if (random() < 0.2) pair.up.conditions.down = true;
      if (random() < 0.2) pair.down.conditions.down = true;
      for (const side of sides) {
        side.size = random() < 0.3 ? integerBetween(random, 8, 1_500) : 0;
        if (random() < 0.6) side.send(integerBetween(random, 1, 400) * integerBetween(random, 1, 400));
      }
      pair.run(random() < 0.2 ? random() * 20_000 : random() * 1_000);
    }
    pair.set({ loss: 0.02 * random(), burst: 1, reorder: 0, duplicate: 0, down: false });
    const bytes = sides.reduce((sum, { backlog }) => sum + backlog, 0) + 2 * MIB;
    const limit = 20_000 + (5 * bytes) / pair.up.conditions.rate;
    const took = pair.runTo(() => !pair.here.waiting && !pair.there.waiting, limit);
    if (took === Infinity) t.fail(`seed ${seed}: a stall`);
    if (!isExact(pair.here, pair.there) || !isExact(pair.there, pair.here)) t.fail(`seed ${seed}: not exact`);
    pair.set({ loss: 0 });
    pair.run(3_000);
    const { turns } = pair.here;
    pair.run(10_000);
    if (pair.here.turns - turns > 5) t.fail(`seed ${seed}: no rest`);
    pair.close();
  }
  t.pass('all came');
});

test('datagrams with wrong bits cost what they carried and no more', async (t) => {
  for (let seed = 0; seed < 30; seed++) {
    const random = seededRandom(seed);
    const pair = new SimulatedPair(
      { delay: 1 + random() * 30, rate: 1_000, corrupt: 0.02, loss: 0.02 * random(), reorder: 0.02 },
      seed,
    );
    pair.here.send(MIB);
    pair.there.send(MIB);
    pair.run(4_000);
    pair.set({ corrupt: 0 });
    pair.run(3_000);
    // The last packet may have been the one.
    for (const side of [pair.here, pair.there]) side.send(100);
    if (pair.runTo(() => !pair.here.waiting && !pair.there.waiting, 2_000) === Infinity) t.fail(`seed ${seed}: a stall`);
    for (const [from, to, direction] of [
      [pair.here, pair.there, pair.up],
      [pair.there, pair.here, pair.down],
    ] as const) {
      // A shard whose number was changed puts its packet in another's place; QUIC sorts that out.
      if (to.misplaced > direction.corrupted) t.fail(`seed ${seed}: ${to.misplaced} packets came twice or out of order`);
      const missing = from.sent - to.received;
      if (missing > 2 * direction.corrupted) t.fail(`seed ${seed}: ${missing} packets for ${direction.corrupted} datagrams`);
    }
    pair.close();
  }
  t.pass('all came');
});

function misfortune(random: () => number): Partial<PathConditions> {
  const some = (most: number): number => (random() < 0.4 ? random() * most : 0);
  return { loss: some(0.3), burst: integerBetween(random, 1, 6), reorder: some(0.3), duplicate: some(0.3), down: random() < 0.15 };
}
