import { test } from 'tap';
import { callsThatMayFail } from '../support/failing-calls.ts';
import { MODES } from '../support/qtunnel.ts';
import { oneOf } from '../fuzz/mutations.ts';
import { seededRandom } from '../support/random.ts';
import { failEach } from './failing-calls.ts';

/** As many as a test has time for; `npm run reliability failing-calls` does all of them. */
const CALLS = 8;

for (const mode of MODES)
  test(`${mode}: calls into the system and the native parts fail once, under load: the processes go on`, async (t) => {
    const random = seededRandom(5);
    const quick = callsThatMayFail(mode).filter(({ when }) => when === 'load' || when === 'reload');
    const chosen = Array.from({ length: CALLS }, () => oneOf(random, quick));
    t.match(await failEach(t, mode, chosen), /went on after [3-8],.* none hung/);
  });
