import { test } from 'tap';
import { CreditBudget, ReceiveCredit, SendCredit } from '../../src/protocol/credit.ts';
import { integerBetween, seededRandom } from '../support/random.ts';

const RTT = 20;

test('a sender has what it was given and no more', async (t) => {
  const credit = new SendCredit(100);
  t.equal(credit.available, 100);
  credit.handleSent(100);
  t.equal(credit.available, 0);
  t.equal(credit.handleCredit(150), true);
  t.equal(credit.available, 50);
});

test('an older or repeated CREDIT changes nothing', async (t) => {
  const credit = new SendCredit(100);
  t.ok(credit.handleCredit(300));
  for (const offset of [300, 299, 100, 0]) t.notOk(credit.handleCredit(offset));
  t.equal(credit.available, 300);
});

test('a receiver announces when half of the window is used up, and the whole window then', async (t) => {
  const credit = new ReceiveCredit(1_000, 1_000, new CreditBudget(1e6), 0);
  t.equal(credit.pollCredit(1e6, RTT), 0, 'nothing was consumed');
  credit.handleConsumed(499);
  t.equal(credit.pollCredit(1e6, RTT), 0);
  credit.handleConsumed(1);
  t.equal(credit.pollCredit(1e6, RTT), 1_500);
  t.equal(credit.outstanding, 1_000);
  t.equal(credit.pollCredit(1e6, RTT), 0, 'announced once');
});

test('a window that is used up fast doubles up to the maximum', async (t) => {
  const credit = new ReceiveCredit(1_000, 5_000, new CreditBudget(1e6), 0);
  const windows = [];
  for (let now = RTT; now <= 5 * RTT; now += RTT) {
    credit.handleConsumed(credit.outstanding);
    t.not(credit.pollCredit(now, RTT), 0);
    windows.push(credit.window);
  }
  t.same(windows, [2_000, 4_000, 5_000, 5_000, 5_000]);
});

test('a window that lasts for two round trips stays', async (t) => {
  const credit = new ReceiveCredit(1_000, 1e6, new CreditBudget(1e9), 0);
  for (let now = 100; now < 10_000; now += 100) {
    credit.handleConsumed(500);
    t.not(credit.pollCredit(now, RTT), 0);
  }
  t.equal(credit.window, 1_000);
});

test('after a pause of its own making a stream does not grow', async (t) => {
  const credit = new ReceiveCredit(1_000, 1e6, new CreditBudget(1e9), 0);
  credit.handleConsumed(1_000);
  credit.pollCredit(60_000, RTT);
  t.equal(credit.window, 1_000);
});

test('without a measured round trip a window does not grow, and credit flows', async (t) => {
  const credit = new ReceiveCredit(1_000, 1e6, new CreditBudget(1e9), 0);
  credit.handleConsumed(1_000);
  t.equal(credit.pollCredit(1, NaN), 2_000);
  t.equal(credit.window, 1_000);
});

test('when the budget is spent windows stop growing, and grow again when some of it is given back', async (t) => {
  const budget = new CreditBudget(4_000);
  const grow = (credit: ReceiveCredit) => {
    credit.handleConsumed(credit.outstanding);
    t.not(credit.pollCredit(0, RTT), 0, 'credit flows at any size');
    return credit.window;
  };
  const first = new ReceiveCredit(1_000, 1e6, budget, 0);
  const second = new ReceiveCredit(1_000, 1e6, budget, 0);
  t.equal(grow(first), 2_000);
  t.equal(grow(second), 2_000);
  t.equal(budget.taken, 4_000);
  t.equal(grow(first), 2_000);
  second.release();
  t.equal(budget.taken, 2_000);
  t.equal(grow(first), 4_000);
  first.release();
  t.equal(budget.taken, 0);
});

test('release counts once', async (t) => {
  const budget = new CreditBudget(4_000);
  const credit = new ReceiveCredit(1_000, 1_000, budget, 0);
  credit.release();
  credit.release();
  t.equal(budget.taken, 0);
});

test('a new stream has its first window even when the budget is spent', async (t) => {
  const budget = new CreditBudget(1_000);
  const credits = Array.from({ length: 5 }, () => new ReceiveCredit(1_000, 9_000, budget, 0));
  t.equal(budget.taken, 5_000);
  for (const credit of credits) {
    t.equal(credit.outstanding, 1_000);
    credit.release();
  }
  t.equal(budget.taken, 0);
});

test('sender and receiver over delayed, reordered and repeated CREDIT', async (t) => {
  for (let seed = 0; seed < 300; seed++) {
    const problem = simulate(seed);
    if (problem !== null) return void t.fail(`seed ${seed}: ${problem}`);
  }
});

/**
 * Streams that share a budget send to readers of random speed. Bytes arrive in order and late; CREDIT late, in any order, some of it twice (never lost:
 * its stream is reliable). Returns what was wrong, or null when all bytes were read.
 */
function simulate(seed: number): string | null {
  const random = seededRandom(seed);
  const budget = new CreditBudget(integerBetween(random, 0, 200_000));
  const streams = Array.from({ length: integerBetween(random, 1, 5) }, () => newStream(random, budget));
  for (let now = 0; streams.some((stream) => stream.read < stream.total); now++) {
    if (now > 2_000_000) return 'deadlock';
    for (const stream of streams) {
      const problem = step(stream, now, random);
      if (problem !== null) return problem;
    }
    const windows = streams.reduce((sum, stream) => sum + stream.receive.window, 0);
    if (budget.taken !== windows) return `${budget.taken} bytes are taken from the budget for windows of ${windows}`;
  }
  for (const stream of streams) stream.receive.release();
  return budget.taken === 0 ? null : `${budget.taken} bytes were left in the budget`;
}

interface SimulatedStream {
  readonly total: number;
  readonly maximum: number;
  readonly delay: number;
  readonly speed: number;
  readonly send: SendCredit;
  readonly receive: ReceiveCredit;
  readonly underway: { at: number; bytes: number }[];
  readonly credits: { at: number; offset: number }[];
  granted: number;
  sent: number;
  waiting: number;
  read: number;
}

function newStream(random: () => number, budget: CreditBudget): SimulatedStream {
  const initial = integerBetween(random, 1, 5_000);
  const maximum = integerBetween(random, 1, 100_000);
  return {
    total: integerBetween(random, 1, 100 * initial),
    maximum: Math.max(initial, maximum),
    delay: integerBetween(random, 0, 30),
    speed: integerBetween(random, 1, 2 * initial),
    send: new SendCredit(initial),
    receive: new ReceiveCredit(initial, maximum, budget, 0),
    underway: [],
    credits: [],
    granted: initial,
    sent: 0,
    waiting: 0,
    read: 0,
  };
}

function step(stream: SimulatedStream, now: number, random: () => number): string | null {
  const { send, receive, underway, credits, maximum } = stream;
  for (let i = credits.length - 1; i >= 0; i--) {
    if (credits[i]!.at <= now) send.handleCredit(credits.splice(i, 1)[0]!.offset);
  }
  const bytes = Math.min(stream.total - stream.sent, send.available, integerBetween(random, 1, 10_000));
  if (bytes < 0) return 'the credit to send fell below zero';
  if (bytes > 0) {
    send.handleSent(bytes);
    stream.sent += bytes;
    underway.push({ at: now + stream.delay, bytes });
  }
  if (stream.sent > stream.granted) return `sent ${stream.sent} of ${stream.granted} granted`;
  while (underway.length > 0 && underway[0]!.at <= now) stream.waiting += underway.shift()!.bytes;
  if (stream.waiting > receive.outstanding) return `${stream.waiting} bytes wait, ${receive.outstanding} were promised`;
  if (stream.waiting > maximum) return `${stream.waiting} bytes wait in a stream of at most ${maximum}`;
  if (random() < 0.5) {
    const taken = Math.min(stream.waiting, stream.speed);
    stream.waiting -= taken;
    stream.read += taken;
    receive.handleConsumed(taken);
  }
  const offset = receive.pollCredit(now, 2 * stream.delay);
  if (receive.window > maximum) return `a window of ${receive.window} is above ${maximum}`;
  if (offset === 0) return null;
  if (offset <= stream.granted) return `granted ${offset} after ${stream.granted}`;
  stream.granted = offset;
  for (let copies = random() < 0.3 ? 2 : 1; copies > 0; copies--) {
    credits.push({ at: now + integerBetween(random, 0, 3 * stream.delay), offset });
  }
  return null;
}
