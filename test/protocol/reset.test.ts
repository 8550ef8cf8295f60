import { test } from 'tap';
import { RESET_REASONS, resetReason } from '../../src/protocol/reset.ts';

test('each number stands for its reason', async (t) => {
  for (const [name, number] of Object.entries(RESET_REASONS)) t.equal(resetReason(number), name);
  t.equal(new Set(Object.values(RESET_REASONS)).size, Object.keys(RESET_REASONS).length, 'no number stands for two');
});

test('a number of a later version, or of another program, reads as RESET', async (t) => {
  for (const number of [0, 200, 255, 2 ** 32, Number.MAX_SAFE_INTEGER, 2 ** 62, -1, NaN]) t.equal(resetReason(number), 'RESET');
});
