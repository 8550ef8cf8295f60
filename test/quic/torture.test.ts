import { test } from 'tap';
import { torture, type TortureOptions } from './torture.ts';

const KIB = 1024;

/** Some of the hundreds of seeds that were tried. */
const CASES: readonly Pick<TortureOptions, 'seed' | 'buffer' | 'conditions'>[] = [
  { seed: 5, buffer: 1024 * KIB },
  { seed: 1, buffer: 256 * KIB, conditions: { delay: 2, loss: 0.02, burst: 2, duplicate: 0.02, reorder: 0.02, corrupt: 0.01 } },
];

for (const blocks of ['auto', 'off'] as const) {
  void test(`random lives of many streams leave nothing behind (blocks ${blocks})`, { timeout: 120_000 }, async (t) => {
    for (const { seed, buffer, conditions = {} } of CASES)
      await t.resolves(torture({ seed, buffer, conditions, blocks, streams: 100, atOnce: 60, most: 300_000 }), `seed ${seed}`);
  });
}
