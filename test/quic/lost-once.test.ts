import { test } from 'tap';
import { KINDS, type Kind, loseOnce } from './lost-once.ts';

/** Without blocks everything but an empty stream moves at once. */
const WITH_BLOCKS_ONLY: ReadonlySet<Kind> = new Set(['SMALL', 'FIN']);

for (const blocks of [true, false]) {
  test(`what changes credit or ends a stream is lost once: nothing stands still (blocks ${blocks ? 'on' : 'off'})`, async (t) => {
    for (const from of ['client', 'server'] as const) {
      for (const what of KINDS) {
        if (!blocks && WITH_BLOCKS_ONLY.has(what)) continue;
        const { lost } = await loseOnce(blocks, { from, what });
        t.ok(lost > 0, `${what} of the ${from}: ${lost} datagrams`);
      }
    }
  });
}
