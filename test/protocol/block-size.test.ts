import { test } from 'tap';
import { BlockSize } from '../../src/protocol/block-size.ts';
import { integerBetween, seededRandom } from '../support/random.ts';

const PAYLOAD = 1_326;

/** A path and the size of blocks on it, looked at again and again. */
class Path {
  readonly size: BlockSize;
  #sent = 0;
  #lost = 0;

  constructor(maximum = 12) {
    this.size = new BlockSize(maximum);
  }

  /** `packets` more, of whose shards a share is lost, at `rate` bytes per millisecond. */
  look({ packets = 1_000, loss = 0, rate = 1e6, rtt = 1 } = {}): number {
    this.#sent += packets;
    this.#lost += packets * (1 - (1 - loss) ** this.size.shards);
    this.size.handlePath({ rtt, cwnd: rate * rtt, sent: this.#sent, lost: this.#lost }, PAYLOAD);
    return this.size.shards;
  }

  lookOften(times: number, figures: Parameters<Path['look']>[0]): number {
    for (let i = 0; i < times; i++) this.look(figures);
    return this.size.shards;
  }
}

test('a block has one shard until something is known of the path', async (t) => {
  t.equal(new BlockSize(12).shards, 1);
});

test('blocks are as large as allowed on a fast clean path', async (t) => {
  for (const maximum of [1, 2, 7, 12, 16]) t.equal(new Path(maximum).look(), maximum);
});

test('a block is no more than what the path carries in a millisecond', async (t) => {
  const shards = (rate: number, rtt: number): number => new Path().look({ rate, rtt });
  t.equal(shards(PAYLOAD * 5, 1), 5);
  t.equal(shards(PAYLOAD * 5, 100), 5, 'the round trip does not count, the rate does');
  t.equal(shards(PAYLOAD * 5 - 1, 1), 4);
  t.equal(shards(PAYLOAD, 30), 1);
  t.equal(shards(10, 300), 1, 'a modem');
});

test('blocks become smaller where shards are lost, the smaller the more', async (t) => {
  const sizes = [0, 0.001, 0.004, 0.007, 0.012, 0.03, 0.5, 1].map((loss) => new Path().lookOften(300, { loss }));
  // One block in fifty may be lost.
  t.same(sizes, [12, 12, 5, 2, 1, 1, 1, 1]);
});

test('a single loss at the beginning changes nothing', async (t) => {
  t.equal(new Path().look({ packets: 20, loss: 1 / 20 }), 12);
});

test('blocks become large again when losses are over', async (t) => {
  const path = new Path();
  t.equal(path.lookOften(100, { loss: 0.2 }), 1);
  t.equal(path.lookOften(5, {}), 1, 'not at once');
  t.equal(path.lookOften(1_000, {}), 12);
});

test('whatever quiche says, a block has from one shard to the maximum, and later figures count again', async (t) => {
  const ABSURD = [NaN, Infinity, -Infinity, 0, -1, -1e300, 1e300, Number.MIN_VALUE, 2 ** 63, 1, 1_350, 0.5];
  const random = seededRandom(7);
  const any = (): number => ABSURD[integerBetween(random, 0, ABSURD.length - 1)]!;
  let outside = 0;
  for (let i = 0; i < 20_000; i++) {
    const size = new BlockSize(12);
    for (let looks = 0; looks < 4; looks++) {
      size.handlePath({ rtt: any(), cwnd: any(), sent: any(), lost: any() }, any());
      if (!Number.isInteger(size.shards) || size.shards < 1 || size.shards > 12) outside++;
    }
  }
  t.equal(outside, 0);
  for (const maximum of [0, -1, NaN]) {
    const size = new BlockSize(maximum);
    size.handlePath({ rtt: 1, cwnd: 1e9, sent: 1_000, lost: 0 }, PAYLOAD);
    t.equal(size.shards, 1, `a maximum of ${maximum}`);
  }
});

test('counters that are no numbers, or begin again, spoil nothing', async (t) => {
  for (const [sent, lost] of [
    [NaN, NaN],
    [0, 0],
    [-5, -5],
  ] as const) {
    const size = new BlockSize(12);
    const good = { rtt: 1, cwnd: 1e9 };
    size.handlePath({ ...good, sent: 1_000_000, lost: 1_000 }, PAYLOAD);
    size.handlePath({ ...good, sent, lost }, PAYLOAD);
    for (let i = 1; i <= 500; i++) size.handlePath({ ...good, sent: 1_000 * i, lost: 0 }, PAYLOAD);
    t.equal(size.shards, 12, `${sent} sent`);
  }
});
