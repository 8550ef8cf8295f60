import { test } from 'tap';
import { fuzzApi } from './fuzz.ts';

test('requests made from the OpenAPI document, good and bad: each answer is one of it, none a server error', async (t) => {
  const statuses = await fuzzApi(t, 600, 1);
  for (const status of [200, 201, 403, 404, 409, 422]) t.ok((statuses.get(status) ?? 0) > 0, `${status} came`);
});
