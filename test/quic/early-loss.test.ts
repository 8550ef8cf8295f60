import { test } from 'tap';
import { FATES, returnWithLoss } from './early-loss.ts';

/** How many datagrams of either side; a client cannot tell a used ticket from an unknown one. */
const FIRST = { taken: 20, unknown: 20, used: 6 };

/** All at once: they mostly wait. */
test('each of the first datagrams of either side is lost once, whatever becomes of the ticket', async (t) => {
  const losses = FATES.flatMap((fate) =>
    (['client', 'server'] as const).flatMap((from) => Array.from({ length: FIRST[fate] }, (_, nth) => ({ fate, from, nth }))),
  );
  const outcomes = await Promise.allSettled(losses.map(({ fate, ...loss }) => returnWithLoss(fate, loss)));
  for (const [index, outcome] of outcomes.entries()) {
    const { fate, from, nth } = losses[index]!;
    const what = outcome.status === 'rejected' ? String(outcome.reason) : 'all has come';
    t.equal(what, 'all has come', `a ticket that is ${fate}: datagram ${nth} of the ${from}`);
  }
});
