import { EventEmitter, once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { test } from 'tap';
import { openStore } from '../../../src/hub/store/open.ts';
import { eventually, withDeadline } from '../../support/deadline.ts';
import { temporaryFolder } from '../../support/files.ts';
import { ToxicProxy } from '../../support/toxic-proxy.ts';
import { startTestApi } from '../support/api.ts';
import { ANNA, kept, traffic } from '../support/mappings.ts';
import { missingPostgres, startPostgres } from '../support/postgres.ts';
import { storeContract } from './contract.ts';

test('PostgreSQL', { skip: missingPostgres() }, async (t) => {
  const { url, port, stop, restart } = await startPostgres(t);

  await t.test('two hubs that start at once make the tables once', async (t) => {
    const stores = await Promise.all([openStore(url), openStore(url), openStore(url)]);
    t.strictSame(await Promise.all(stores.map((store) => store.mappings())), [[], [], []]);
    for (const store of stores) await store.close();
  });

  await t.test('as a store', (t) => storeContract(t, url));

  await t.test('a change of one hub is told to the others', async (t) => {
    const [one, other] = await Promise.all([openStore(url), openStore(url)]);
    const changes = new EventEmitter();
    other.onChange((what) => changes.emit(what));
    t.teardown(() => Promise.all([one.close(), other.close()]));
    await withDeadline(once(changes, 'tokens'), () => 'the first look at everything');
    const told = withDeadline(once(changes, 'mappings'), () => 'the news of a mapping');
    await one.addMapping(kept(20_001), ANNA);
    await told;
    t.ok((await other.mappings()).some(({ mapping }) => mapping.port === 20_001));
    const gone = withDeadline(once(changes, 'mappings'), () => 'the news of its end');
    await one.removeMapping('tcp', 20_001, ANNA);
    await gone;
  });

  await t.test('hubs that count at the same time lose nothing', async (t) => {
    const stores = await Promise.all([openStore(url), openStore(url)]);
    t.teardown(() => Promise.all(stores.map((store) => store.close())));
    for (const port of [20_002, 20_003]) await stores[0]!.addMapping(kept(port), ANNA);
    const counts = Array.from({ length: 20 }, (_, index) =>
      stores[index % 2]!.addTraffic([
        traffic(index % 3 === 0 ? 20_003 : 20_002, '192.0.2.1'),
        traffic(20_002 + (index % 2), '192.0.2.2'),
      ]),
    );
    await Promise.all(counts);
    const totals = (await stores[0]!.totals()).filter(({ port }) => port >= 20_002);
    t.equal(
      totals.reduce((sum, { connections }) => sum + connections, 0),
      40,
    );
  });

  await t.test('takes whatever the API takes', async (t) => {
    const hub = await startTestApi(t, { database: url, listening: false });
    for (const [port, changed] of [
      [20_004, { bandwidth: 8_001 }],
      [20_005, { bandwidth: '10.5Kbit' }],
      [20_006, { note: '\u0001\uD800\u{1F600}' }],
    ] as const) {
      const made = await hub.call('POST', '/api/v1/mappings', { port, target: '127.0.0.1:22', ...changed });
      t.match(made, { status: 201 }, made.text);
      t.same((await hub.call('GET', `/api/v1/mappings/tcp/${port}`)).body.bandwidth, made.body.bandwidth);
    }
    const refused = await hub.call('POST', '/api/v1/mappings', { port: 20_007, target: '127.0.0.1:22', note: 'a\0b' });
    t.match(refused, { status: 422, body: { errors: [{ field: 'note' }] } }, refused.text);
  });

  await t.test('a connection that is lost in the midst of a query is an error of that query, and no more', async (t) => {
    const store = await openStore(url);
    const admin = new Client(url);
    await admin.connect();
    t.teardown(() => Promise.all([store.close(), admin.end()]));
    await admin.query('begin; lock table mappings');
    const change = store.addMapping(kept(20_010), ANNA);
    change.catch(() => {});
    const cut = () => admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${WAITING}`);
    await eventually('a query that waits', async () => (await cut()).rowCount === 1);
    await t.rejects(change, { code: 'DATABASE_FAILED', message: /terminat/ });
    await admin.query('rollback');
    t.ok(await store.addMapping(kept(20_010), ANNA));
  });

  await t.test('a way to the database that swallows everything and comes back: the first change after it is done', async (t) => {
    const proxy = await ToxicProxy.open(t, port);
    const store = await openStore(url.replace(`:${port}`, `:${proxy.port}`));
    t.teardown(() => store.close());
    await proxy.set({ type: 'timeout', milliseconds: 600_000 });
    await t.rejects(store.addMapping(kept(20_011), ANNA), { code: 'DATABASE_FAILED', message: /timeout/ });
    await proxy.set(null);
    t.ok(await store.addMapping(kept(20_011), ANNA));
  });

  await t.test('a database that is stopped and started again is listened to again, and what was missed is told', async (t) => {
    const store = await openStore(url);
    const changes = new EventEmitter();
    store.onChange((what) => changes.emit(what));
    t.teardown(() => store.close());
    await withDeadline(once(changes, 'tokens'), () => 'the first look at everything');
    const told = Promise.all([once(changes, 'mappings'), once(changes, 'tokens')]);
    await stop();
    await t.rejects(store.mappings(), { code: 'DATABASE_FAILED' });
    await restart();
    await withDeadline(told, () => 'another look at everything');
    const news = withDeadline(once(changes, 'mappings'), () => 'the news of a mapping');
    await store.addMapping(kept(20_012), ANNA);
    await news;
  });

  await t.test('an authority that cannot be read when the connection is lost is tried again, and ends nothing', async (t) => {
    const authority = join(temporaryFolder(t), 'ca.crt');
    fs.writeFileSync(authority, '');
    const store = await openStore(`${url}?sslmode=disable&sslrootcert=${authority}`);
    const admin = new Client(url);
    await admin.connect();
    const changes = new EventEmitter();
    store.onChange((what) => changes.emit(what));
    t.teardown(() => Promise.all([store.close(), admin.end()]));
    await withDeadline(once(changes, 'tokens'), () => 'the first look at everything');
    const told = once(changes, 'tokens');
    fs.rmSync(authority);
    const reads = t.capture(fs, 'readFileSync', fs.readFileSync);
    await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen %'");
    await eventually('an attempt without it', () => reads().some(({ args: [file] }) => file === authority));
    fs.writeFileSync(authority, '');
    await withDeadline(told, () => 'another look at everything');
  });

  await t.test('a database that is gone is an error of its own, without the password', async (t) => {
    const store = await openStore(url.replace('postgres@', 'postgres:geheim@'));
    t.teardown(() => store.close());
    await stop();
    const error = await store.addMapping(kept(30_000), ANNA).catch((thrown: unknown) => thrown as Error);
    t.match(error, { code: 'DATABASE_FAILED', message: /127\.0\.0\.1:\d+\/postgres failed \(.*ECONNREFUSED/ });
    t.notOk(String(error).includes('geheim'));
    await t.rejects(openStore(url), { code: 'DATABASE_FAILED' });
  });
});

/** The connection that waits for the lock. */
const WAITING = `wait_event_type = 'Lock' and application_name = 'qtunnel'`;
