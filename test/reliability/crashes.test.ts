import { test } from 'tap';
import { MODES } from '../support/qtunnel.ts';
import { hurt } from './crashes.ts';

for (const mode of MODES)
  test(`${mode}: a server is killed while the backend goes down and up: nothing hangs, everything new works`, async (t) => {
    t.match(await hurt(t, mode, { kills: 1, flaps: 2, reconnectMs: Infinity }), /none hung; 100 of 100 afterwards/);
  });
