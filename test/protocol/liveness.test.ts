import { test } from 'tap';
import { Liveness, STALL, type LivenessState } from '../../src/protocol/liveness.ts';
import { seededRandom } from '../support/random.ts';

const KEEPALIVE = 10_000;
const IDLE_TIMEOUT = 30_000;
const START = 1_000_000;

test('heard from: alive, and a ping is due after the keepalive', async (t) => {
  const liveness = started();
  t.equal(liveness.state(START), 'alive');
  t.equal(liveness.deadline(START), START + KEEPALIVE);
  t.notOk(liveness.pollPing(START + KEEPALIVE - 1));
  t.ok(liveness.pollPing(START + KEEPALIVE));
  t.ok(liveness.pollPing(START + KEEPALIVE), 'until the caller says that it has sent one');
  liveness.handleAsked(START + KEEPALIVE);
  t.notOk(liveness.pollPing(START + KEEPALIVE));
});

test('something heard puts the ping off', async (t) => {
  const liveness = started();
  liveness.handleHeard(START + 4_000);
  t.notOk(liveness.pollPing(START + KEEPALIVE));
  t.equal(liveness.deadline(START + KEEPALIVE), START + 4_000 + KEEPALIVE);
});

test('unanswered for STALL: stalled, and a ping again each keepalive', async (t) => {
  const liveness = started();
  const asked = START + KEEPALIVE;
  liveness.handleAsked(asked);
  t.equal(liveness.deadline(asked), asked + STALL);
  t.equal(liveness.state(asked + STALL - 1), 'alive');
  t.equal(liveness.state(asked + STALL), 'stalled');
  t.equal(liveness.deadline(asked + STALL), asked + KEEPALIVE, 'the stall itself is no reason to look again');
  t.ok(liveness.pollPing(asked + KEEPALIVE));
  liveness.handleAsked(asked + KEEPALIVE);
  t.equal(liveness.state(asked + KEEPALIVE), 'stalled', 'asking again does not make it alive');
});

test('the oldest open question counts, not the newest', async (t) => {
  const liveness = started();
  for (let at = START; at < START + STALL; at += 100) liveness.handleAsked(at);
  t.equal(liveness.state(START + STALL), 'stalled');
});

test('silent for the idle timeout: dead, asked or not', async (t) => {
  for (const asks of [true, false]) {
    const liveness = started();
    if (asks) liveness.handleAsked(START);
    t.not(liveness.state(START + IDLE_TIMEOUT - 1), 'dead');
    t.equal(liveness.state(START + IDLE_TIMEOUT), 'dead');
  }
});

test('anything heard makes a stalled peer alive, with a new idle timeout', async (t) => {
  const liveness = started();
  liveness.handleAsked(START);
  const heard = START + IDLE_TIMEOUT - 1;
  t.equal(liveness.state(heard), 'stalled');
  liveness.handleHeard(heard);
  t.equal(liveness.state(heard), 'alive');
  t.equal(liveness.state(heard + STALL), 'alive', 'the old question is closed');
  t.not(liveness.state(heard + IDLE_TIMEOUT - 1), 'dead');
  t.equal(liveness.state(heard + IDLE_TIMEOUT), 'dead');
});

test('a driver that sleeps until the deadline wakes only to act', async (t) => {
  const events = drive(started(), () => null);
  t.same(events, [
    [10_000, 'ping'],
    [12_500, 'stalled'],
    [20_000, 'ping'],
    [30_000, 'dead'],
  ]);
});

test('a driver whose peer answers wakes once for each ping', async (t) => {
  const events = drive(started(), (at) => (at < 95_000 ? 40 : null));
  t.same(events.slice(0, 2), [
    [10_000, 'ping'],
    [20_040, 'ping'],
  ]);
  t.ok(events.every(([at, what]) => what === 'ping' || at > 95_000));
  t.equal(events.at(-1)![1], 'dead');
});

test('on a clock with fractions, and with any answers, no wake-up is for nothing', async (t) => {
  for (let seed = 0; seed < 500; seed++) {
    const random = seededRandom(seed);
    const start = random() * 1e9;
    const liveness = new Liveness({ keepalive: 1 + random() * 20_000, idleTimeout: 1 + random() * 40_000, now: start });
    // Throws when a wake-up changes nothing.
    const events = drive(liveness, () => (random() < 0.7 ? random() * 5_000 : null), start);
    if (events.length === 0) t.fail(`nothing happened with seed ${seed}`);
  }
});

function started(): Liveness {
  return new Liveness({ keepalive: KEEPALIVE, idleTimeout: IDLE_TIMEOUT, now: START });
}

/**
 * Sleeps until the deadline or the next answer, acts, and sleeps again until dead or 1,000 wake-ups; tells when it did what, in milliseconds since
 * the start. `answerAfter` says how long after a ping its answer comes, null for never. Throws when it was woken for nothing.
 */
function drive(liveness: Liveness, answerAfter: (at: number) => number | null, start = START): [at: number, what: string][] {
  const events: [number, string][] = [];
  let now = start;
  let state: LivenessState = 'alive';
  let answerAt = Infinity;
  for (let wakeUps = 0; wakeUps < 1_000; wakeUps++) {
    now = Math.max(now, Math.min(liveness.deadline(now), answerAt));
    let acted = false;
    if (now >= answerAt) {
      liveness.handleHeard(now);
      answerAt = Infinity;
      acted = true;
    }
    const newState = liveness.state(now);
    if (newState !== state) {
      if (newState !== 'alive') events.push([now - start, newState]);
      state = newState;
      acted = true;
    }
    if (state === 'dead') return events;
    if (liveness.pollPing(now)) {
      liveness.handleAsked(now);
      events.push([now - start, 'ping']);
      const delay = answerAfter(now - start);
      if (delay !== null) answerAt = Math.min(answerAt, now + delay);
      acted = true;
    }
    if (!acted) throw new Error(`woken for nothing at ${now - start}`);
  }
  return events;
}
