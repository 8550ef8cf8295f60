import { test } from 'tap';
import { shareLost } from '../../src/hub/agents.ts';

test('loss is a share of the packets sent, once they are enough to tell', async (t) => {
  t.equal(shareLost(1_000, 0), 0);
  t.equal(shareLost(1_000, 1), 0.001);
  t.equal(shareLost(20_000, 400), 0.02);
  t.ok(Number.isNaN(shareLost(9, 1)), 'a handful');
  t.ok(Number.isNaN(shareLost(999, 110)));
  t.ok(Number.isNaN(shareLost(0, 0)), 'over TLS nobody counts');
});
