import { openStore } from '../../../src/hub/store/open.ts';
import { ANNA, kept, traffic } from './mappings.ts';

/**
 * A process to be killed: adds mappings to the database that its first argument names, from the port after the second on, with counters, and says
 * `done` when one is there for good.
 */
const [file = '', last = '0'] = process.argv.slice(2);
const store = await openStore(file);
for (let port = Number(last) + 1; ; port++) {
  await store.addMapping(kept(port), ANNA);
  process.stdout.write('done\n');
  await store.addTraffic(Array.from({ length: port }, (_, index) => traffic(index + 1, '192.0.2.1')));
}
