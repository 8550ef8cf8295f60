import path from 'node:path';
import { type Test, test } from 'tap';
import { openStore } from '../../src/hub/store/open.ts';
import { TrafficLedger } from '../../src/hub/traffic-ledger.ts';
import { temporaryFolder } from '../support/files.ts';
import { failing } from './support/failing-store.ts';
import { connection, FakePublisher } from './support/fake-publisher.ts';
import { keptLog } from './support/kept-log.ts';
import { ANNA, kept, traffic } from './support/mappings.ts';

const PORT = 10_022;

test('counts what open connections carry and what ended ones had carried, each byte once', async (t) => {
  const { ledger, publisher, store } = await setUp(t);
  publisher.connectionStates = [
    connection('a', PORT, { bytesIn: 10 }),
    connection('b', PORT, { bytesOut: 5, peer: '[2001:db8::1]:99' }),
  ];
  await ledger.flush();
  await ledger.flush();
  t.match(await store.totals(), [{ connections: 2, bytesIn: 10, bytesOut: 5 }]);
  publisher.end(connection('a', PORT, { bytesIn: 30, bytesOut: 7 }));
  publisher.end(connection('c', PORT, { bytesIn: 1 }));
  await ledger.flush();
  t.match(await store.totals(), [{ connections: 3, bytesIn: 31, bytesOut: 12 }]);
  t.same((await store.traffic()).map(({ client }) => client).toSorted(), ['192.0.2.1', '2001:db8::1']);
  t.match(ledger.totalsOf({ protocol: 'tcp', port: PORT }), { connections: 3, bytesIn: 31, bytesOut: 12 });
});

test('a connection that is refused in the end is none', async (t) => {
  const { ledger, publisher, store } = await setUp(t);
  publisher.connectionStates = [connection('a', PORT), connection('b', PORT)];
  await ledger.flush();
  publisher.connectionStates = [connection('b', PORT)];
  await ledger.flush();
  t.same(await store.totals(), []);
  publisher.end(connection('b', PORT));
  await ledger.flush();
  t.match(await store.totals(), [{ connections: 1, bytesIn: 0, bytesOut: 0 }]);
});

test('a restart goes on from what was written', async (t) => {
  const { ledger, publisher, file } = await setUp(t);
  publisher.end(connection('a', PORT, { bytesIn: 30 }));
  t.equal(ledger.totalsOf({ protocol: 'tcp', port: PORT }).bytesIn, 30, 'at once');
  await ledger.close();
  const again = await setUp(t, file);
  again.publisher.end(connection('a', PORT, { bytesIn: 12 }));
  t.match(again.ledger.totalsOf({ protocol: 'tcp', port: PORT }), { connections: 2, bytesIn: 42 });
});

test('what the database does not take waits, and is counted once', async (t) => {
  const { ledger, publisher, store, broken, events } = await setUp(t);
  broken.add('addTraffic');
  publisher.end(connection('a', PORT, { bytesIn: 30 }));
  await ledger.flush();
  publisher.end(connection('b', PORT, { bytesIn: 12 }));
  await ledger.flush();
  t.equal(events().filter((event) => event === 'counters_wait').length, 1, 'it is said once');
  broken.clear();
  await ledger.flush();
  t.match(await store.totals(), [{ connections: 2, bytesIn: 42 }]);
  t.equal(ledger.totalsOf({ protocol: 'tcp', port: PORT }).bytesIn, 42);
});

test('what another hub counts is seen, also where nobody is connected', async (t) => {
  const { ledger, store } = await setUp(t);
  await store.addTraffic([traffic(PORT, '192.0.2.1', { bytesIn: 42 })]);
  for (let flush = 0; flush < 5; flush++) await ledger.flush();
  t.match(ledger.totalsOf({ protocol: 'tcp', port: PORT }), { connections: 1, bytesIn: 42 });
});

test('a flood of clients is counted in bounded memory', async (t) => {
  const { ledger, publisher, store } = await setUp(t);
  for (let index = 0; index < 5_000; index++)
    publisher.end(connection(`${index}`, PORT, { peer: `198.18.${index >> 8}.${index & 255}:1`, bytesIn: 1 }));
  await ledger.flush();
  t.match(await store.totals(), [{ connections: 5_000, bytesIn: 5_000 }]);
  t.match(await store.traffic({ protocol: 'tcp', port: PORT }, 1), [{ client: '', connections: 3_000 }]);
});

test('a removed mapping takes its counters along', async (t) => {
  const { ledger, publisher, store } = await setUp(t);
  publisher.end(connection('a', PORT, { bytesIn: 30 }));
  await store.removeMapping('tcp', PORT, ANNA);
  ledger.forget({ protocol: 'tcp', port: PORT });
  await store.addMapping(kept(PORT), ANNA);
  await ledger.flush();
  t.same(await store.totals(), []);
  t.equal(ledger.totalsOf({ protocol: 'tcp', port: PORT }).connections, 0);
});

async function setUp(t: Test, file = path.join(temporaryFolder(t), 'hub.db')) {
  const { store, broken } = failing(await openStore(file));
  await store.addMapping(kept(PORT), ANNA);
  const publisher = new FakePublisher(t);
  const { log, events } = keptLog();
  const ledger = new TrafficLedger({ store, publisher, log });
  await ledger.start();
  t.teardown(async () => {
    await ledger.close();
    await store.close();
  });
  return { ledger, publisher, store, broken, file, events };
}
