import { test } from 'tap';
import { type MarkChange, ServerChoice } from '../../src/tunnel/server-choice.ts';

const LOOK = 250;

/** Servers whose round-trip times (milliseconds) a test sets; null for one that is gone. */
class Watch {
  readonly choice: ServerChoice;
  readonly rtts: (number | null)[];
  readonly marks: MarkChange[] = [];
  /** The preferred server at each change, with when it was. */
  readonly moves: { at: number; to: number }[] = [];
  now = 0;

  constructor(...rtts: (number | null)[]) {
    this.rtts = rtts;
    this.choice = new ServerChoice(rtts.length);
  }

  run(milliseconds: number, change: (now: number) => void = () => {}): number {
    for (const end = this.now + milliseconds; this.now < end; this.now += LOOK) {
      change(this.now);
      const before = this.choice.preferred;
      const looks = this.rtts.map((rtt) => ({ isUp: rtt !== null, rtt: rtt ?? Number.NaN }));
      this.marks.push(...this.choice.handleLook(looks, this.now));
      if (this.choice.preferred !== before) this.moves.push({ at: this.now, to: this.choice.preferred });
    }
    return this.choice.preferred;
  }
}

void test('the nearest is taken, and the first that is up until that has shown itself', async (t) => {
  const watch = new Watch(null, 80, 20);
  watch.run(LOOK);
  t.not(watch.choice.preferred, 0);
  t.equal(watch.run(20_000), 2);
  t.strictSame(watch.choice.order, [2, 1, 0]);
});

void test('one that dies is left at the next look', async (t) => {
  const watch = new Watch(20, 80);
  watch.run(10_000);
  watch.rtts[0] = null;
  t.equal(watch.run(LOOK), 1);
});

void test('back to the nearer one when it has stayed, and later after each loss', async (t) => {
  const watch = new Watch(20, 80);
  watch.run(10_000);
  const waits: number[] = [];
  for (let n = 0; n < 3; n++) {
    watch.rtts[0] = null;
    t.equal(watch.run(2_000), 1);
    watch.rtts[0] = 20;
    const back = watch.now;
    t.equal(watch.run(60_000), 0);
    waits.push(watch.moves.at(-1)!.at - back);
  }
  t.ok(waits[0]! >= 10_000 && waits[0]! < 20_000, `${waits.join(', ')} ms`);
  for (let n = 1; n < 3; n++) t.ok(waits[n]! > waits[n - 1]!);
});

void test('little differences, and such that come and go, move nothing', async (t) => {
  const close = new Watch(50, 45);
  t.equal(close.run(120_000), 0);
  const changing = new Watch(50, 50);
  changing.run(120_000, (now) => (changing.rtts[1] = Math.floor(now / 3_000) % 2 === 0 ? 20 : 90));
  t.strictSame(changing.moves, []);
});

void test('a far server is left although the two that are nearer are so by turns', async (t) => {
  const watch = new Watch(100, 20, 20);
  watch.run(10_000, (now) => {
    const isSecond = Math.floor(now / 1_000) % 2 === 0;
    [watch.rtts[1], watch.rtts[2]] = isSecond ? [19, 21] : [21, 19];
  });
  t.not(watch.choice.preferred, 0);
  t.equal(watch.moves.length, 1);
});

void test('two that die by turns: nothing goes to and fro', async (t) => {
  const watch = new Watch(30, 31);
  watch.run(600_000, (now) => {
    const second = Math.floor(now / 1_000) % 20;
    watch.rtts[0] = second < 2 ? null : 30;
    watch.rtts[1] = second >= 10 && second < 12 ? null : 31;
  });
  t.ok(watch.moves.length <= 2 * 30 + 2, `${watch.moves.length} moves for 60 deaths`);
});

void test('marks: far, and unsteady, and over again', async (t) => {
  const watch = new Watch(20, 400);
  watch.run(10_000);
  t.strictSame(watch.marks, [{ server: 1, mark: 'NODE_HIGH_LATENCY', holds: true }]);
  t.ok(watch.choice.hasMark(1, 'NODE_HIGH_LATENCY'));
  watch.rtts[1] = 60;
  watch.run(20_000);
  t.same(
    watch.marks.findLast(({ mark }) => mark === 'NODE_HIGH_LATENCY'),
    { server: 1, mark: 'NODE_HIGH_LATENCY', holds: false },
  );
  watch.marks.length = 0;
  for (let n = 0; n < 3; n++) {
    watch.rtts[0] = null;
    watch.run(1_000);
    watch.rtts[0] = 20;
    watch.run(1_000);
  }
  t.strictSame(watch.marks, [{ server: 0, mark: 'NODE_UNSTABLE', holds: true }]);
  watch.run(400_000);
  t.strictSame(watch.marks.at(-1), { server: 0, mark: 'NODE_UNSTABLE', holds: false });
});

void test('all are gone: the choice stays, and the first that is back is taken', async (t) => {
  const watch = new Watch(20, 80);
  watch.run(10_000);
  watch.rtts.fill(null);
  t.equal(watch.run(10_000), 0);
  watch.rtts[1] = 80;
  t.equal(watch.run(LOOK), 1);
});
