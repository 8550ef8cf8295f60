import { test } from 'tap';
import { oneOf } from '../fuzz/mutations.ts';
import { seededRandom } from '../support/random.ts';
import { failEachOfHub, HUB_CALLS } from './failing-hub.ts';

/** As many as a test has time for; `npm run reliability failing-calls` does all of them. */
const CALLS = 6;

test('calls of a hub and its agent fail once, under load: both go on, the API says so, and everything works afterwards', async (t) => {
  const random = seededRandom(6);
  const quick = HUB_CALLS.filter(({ call, when }) => when !== 'start' && !call.includes('without an answer'));
  const chosen = Array.from({ length: CALLS }, () => oneOf(random, quick));
  t.match(await failEachOfHub(t, chosen), /^[3-6] of 6 were made and failed; .* none hung/);
});
