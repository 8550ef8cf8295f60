import { test } from 'tap';
import { ALONE, placeId, placeOf } from '../../src/protocol/place.ts';

test('an id names its worker by its first byte, and keeps the others', async (t) => {
  for (const count of [1, 2, 3, 7, 64])
    for (let index = 0; index < count; index++)
      for (let first = 0; first < 256; first++) {
        const id = placeId(Uint8Array.of(first, 1, 2, 3), { index, count });
        if (id[0]! % count !== index || placeOf(id, count) !== index) t.fail(`${first} for ${index} of ${count}`);
        if (id[1] !== 1 || id[3] !== 3) t.fail('the rest');
      }
  t.same(placeId(Uint8Array.of(200, 9), ALONE), Uint8Array.of(200, 9), 'with one worker it stays as it is');
});
