import path from 'node:path';
import { type Test, test } from 'tap';
import type { Mapping } from '../../src/hub/mapping.ts';
import { MappingKeeper } from '../../src/hub/mapping-keeper.ts';
import { openStore } from '../../src/hub/store/open.ts';
import { temporaryFolder } from '../support/files.ts';
import { freePort, listen } from '../support/tcp.ts';
import { failing } from './support/failing-store.ts';
import { FakePublisher } from './support/fake-publisher.ts';
import { keptLog } from './support/kept-log.ts';
import { ANNA, mapping } from './support/mappings.ts';

test('a mapping is in the database and on its port, and after its removal in neither', async (t) => {
  const { keeper, publisher, store } = await setUp(t);
  const port = await freePort();
  const made = await keeper.create(mapping(port), ANNA);
  t.match(made, { mapping: { port }, problem: '', state: { ready: true } });
  t.same(portsOf(await store.mappings()), [port]);
  t.same(portsOf(publisher.mappings()), [port]);

  t.match(await keeper.remove('tcp', port, ANNA), { mapping: { port } });
  t.same(await store.mappings(), []);
  t.same(publisher.mappings(), []);
  t.equal(await keeper.remove('tcp', port, ANNA), null);
});

test('a change is in the database and on its port; what is not kept is not changed; a failure changes nothing', async (t) => {
  const { keeper, publisher, store, broken } = await setUp(t);
  const port = await freePort();
  await keeper.create(mapping(port), ANNA);
  const note = (text: string) => (before: Mapping) => ({ ...before, note: text });
  t.match(await keeper.update('tcp', port, note('one'), ANNA), {
    mapping: { port, note: 'one' },
    problem: '',
    state: { ready: true },
  });
  t.match(await store.mappings(), [{ mapping: { note: 'one' } }]);
  t.match(publisher.mappings(), [{ mapping: { note: 'one' } }]);
  broken.add('updateMapping');
  await t.rejects(keeper.update('tcp', port, note('two'), ANNA), { code: 'DATABASE_FAILED' });
  t.match([publisher.mappings(), keeper.list()], [[{ mapping: { note: 'one' } }], [{ mapping: { note: 'one' } }]]);
  t.equal(await keeper.update('udp', port, note('two'), ANNA), null);
  const other = await freePort();
  publisher.wish(mapping(other));
  await t.rejects(keeper.update('tcp', other, note('two'), ANNA), { code: 'PORT_TAKEN', message: /-R/ });
});

test('what cannot be opened is not in the database: taken by another program, mapped already, outside the range', async (t) => {
  const { keeper, publisher, store } = await setUp(t);
  const taken = await listen(t, () => {}, await freePort());
  await t.rejects(keeper.create(mapping(taken), ANNA), { code: 'LISTEN_FAILED' });
  await t.rejects(keeper.create(mapping(80), ANNA), { code: 'PORT_OUTSIDE' });
  t.same(await store.mappings(), []);

  const port = await freePort();
  await keeper.create(mapping(port), ANNA);
  await t.rejects(keeper.create(mapping(port, { note: 'another' }), ANNA), { code: 'PORT_TAKEN' });
  t.match(await store.mappings(), [{ mapping: { note: '' } }]);
  t.equal(publisher.mappings().length, 1);
});

test('what the database does not take is not on its port, and what it does not let go stays there', async (t) => {
  const { keeper, publisher, store, broken } = await setUp(t);
  const [port, other] = [await freePort(), await freePort()];
  await keeper.create(mapping(port), ANNA);

  broken.add('addMapping').add('removeMapping');
  await t.rejects(keeper.create(mapping(other), ANNA), { code: 'DATABASE_FAILED' });
  await t.rejects(keeper.remove('tcp', port, ANNA), { code: 'DATABASE_FAILED' });
  t.same(portsOf(publisher.mappings()), [port]);
  t.same(portsOf(keeper.list()), [port]);
  t.same(portsOf(await store.mappings()), [port]);

  broken.clear();
  await keeper.create(mapping(other), ANNA);
  await keeper.remove('tcp', port, ANNA);
  t.same(portsOf(publisher.mappings()), [other]);
});

test('twenty who want the same port at once: one gets it', async (t) => {
  const { keeper, store } = await setUp(t);
  const port = await freePort();
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) => keeper.create(mapping(port, { note: `${index}` }), ANNA)),
  );
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
  t.equal((await store.mappings()).length, 1);
});

test('mappings come back at start; one whose port is taken says so and does not keep the others', async (t) => {
  const { keeper, publisher, file } = await setUp(t);
  const [free, taken] = [await freePort(), await freePort()];
  for (const port of [free, taken]) await keeper.create(mapping(port, { note: `${port}` }), ANNA);
  await keeper.close();
  for (const port of [free, taken]) await publisher.withdraw('tcp', port);

  const again = await setUp(t, { file, before: (publisher) => publisher.wish(mapping(taken)) });
  t.match(again.keeper.find('tcp', free), { mapping: { note: `${free}` }, problem: '', state: { ready: true } });
  t.match(again.keeper.find('tcp', taken), { mapping: { note: `${taken}` }, problem: /mapped already/, state: null });
  t.ok(again.events().includes('mapping_failed'));

  await again.keeper.remove('tcp', taken, ANNA);
  t.ok(
    again.publisher.mappings().some(({ mapping: { port } }) => port === taken),
    'what has the port in its place keeps it',
  );
});

test('what another hub changes is taken over', async (t) => {
  const { keeper, publisher, store } = await setUp(t);
  const [kept, gone, changed, made] = [await freePort(), await freePort(), await freePort(), await freePort()];
  for (const port of [kept, gone, changed]) await keeper.create(mapping(port), ANNA);
  const before = publisher.mappings().find(({ mapping: { port } }) => port === kept);
  await store.removeMapping('tcp', gone, ANNA);
  await store.removeMapping('tcp', changed, ANNA);
  for (const one of [mapping(changed, { note: 'new' }), mapping(made)])
    await store.addMapping({ mapping: one, createdAt: new Date() }, ANNA);

  keeper.refresh();
  await t.rejects(keeper.create(mapping(made), ANNA), { code: 'PORT_TAKEN' });
  t.same(portsOf(publisher.mappings()).toSorted(), [kept, changed, made].toSorted());
  t.equal(publisher.mappings().find(({ mapping: { port } }) => port === changed)?.mapping.note, 'new');
  t.equal(
    publisher.mappings().find(({ mapping: { port } }) => port === kept),
    before,
    'what is the same is left alone',
  );
});

test('what another hub removes takes its counters along', async (t) => {
  const { keeper, store, forgotten } = await setUp(t);
  const [gone, changed] = [await freePort(), await freePort()];
  for (const port of [gone, changed]) await keeper.create(mapping(port), ANNA);
  await store.removeMapping('tcp', gone, ANNA);
  await store.updateMapping(mapping(changed, { note: 'new' }), ANNA);
  keeper.refresh();
  await keeper.remove('tcp', gone, ANNA);
  t.same(forgotten, [gone]);
});

test('news that comes at the end is no failure', async (t) => {
  const { keeper, events } = await setUp(t);
  await keeper.close();
  keeper.refresh();
  await keeper.close();
  t.notOk(events().includes('mappings_not_read'));
});

test('another hub was faster: its mapping counts', async (t) => {
  const { keeper, publisher, store } = await setUp(t);
  const port = await freePort();
  await store.addMapping({ mapping: mapping(port, { note: 'its' }), createdAt: new Date() }, ANNA);
  await t.rejects(keeper.create(mapping(port, { note: 'mine' }), ANNA), { code: 'PORT_TAKEN' });
  t.match(publisher.mappings(), [{ mapping: { port, note: 'its' } }]);
  t.match(keeper.list(), [{ mapping: { port, note: 'its' }, problem: '' }]);
});

test('what an agent asks for is listed, not kept, and not to be removed', async (t) => {
  const { keeper, publisher, store } = await setUp(t);
  publisher.wish(mapping(12_345));
  t.match(keeper.list(), [{ mapping: { port: 12_345 }, createdAt: null }]);
  await t.rejects(keeper.remove('tcp', 12_345, ANNA), { code: 'PORT_TAKEN', message: /-R/ });
  t.same(await store.mappings(), []);
});

interface Start {
  readonly file?: string;
  readonly before?: (publisher: FakePublisher) => void;
}

async function setUp(t: Test, { file = path.join(temporaryFolder(t), 'hub.db'), before }: Start = {}) {
  const { store, broken } = failing(await openStore(file));
  const publisher = new FakePublisher(t);
  before?.(publisher);
  const { log, events } = keptLog();
  const forgotten: number[] = [];
  const keeper = new MappingKeeper({ store, publisher, log, forget: ({ port }) => void forgotten.push(port) });
  t.teardown(async () => {
    await keeper.close();
    await store.close();
  });
  await keeper.start();
  return { keeper, publisher, store, broken, file, events, forgotten };
}

function portsOf(all: readonly { readonly mapping: Mapping }[]): number[] {
  return all.map(({ mapping: { port } }) => port);
}
