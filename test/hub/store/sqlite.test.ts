import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Kysely, Migrator } from 'kysely';
import { test } from 'tap';
import { openStore } from '../../../src/hub/store/open.ts';
import { openSqlite } from '../../../src/hub/store/sqlite.ts';
import { temporaryFolder } from '../../support/files.ts';
import { integerBetween, seededRandom } from '../../support/random.ts';
import { run, start } from '../../support/process.ts';
import { missing } from '../../support/programs.ts';
import { ANNA, kept, traffic } from '../support/mappings.ts';
import { storeContract } from './contract.ts';

test('SQLite', (t) => storeContract(t, path.join(temporaryFolder(t), 'new', 'hub.db')));

test('its file and folder are made for the owner only', async (t) => {
  const file = path.join(temporaryFolder(t), 'new', 'hub.db');
  const store = await openStore(file);
  t.teardown(() => store.close());
  await store.addMapping(kept(1), ANNA);
  t.equal(statSync(path.dirname(file)).mode & 0o777, 0o700);
  for (const name of [file, `${file}-wal`, `${file}-shm`]) t.equal(statSync(name).mode & 0o777, 0o600, name);
});

test('a file that is no database, or of a later version, is refused and left alone', async (t) => {
  const folder = temporaryFolder(t);
  const text = path.join(folder, 'text.db');
  writeFileSync(text, 'This is no database at all. '.repeat(100));
  await t.rejects(openStore(text), { code: 'DATABASE_FAILED', message: /text\.db .*not a database/ });
  t.equal(statSync(text).size, 2_800);

  const later = path.join(folder, 'later.db');
  const store = await openStore(later);
  await store.close();
  const { DatabaseSync } = await import('@photostructure/sqlite');
  const database = new DatabaseSync(later);
  database.exec("insert into kysely_migration (name, timestamp) values ('9999-later', '2030-01-01')");
  database.close();
  await t.rejects(openStore(later), { code: 'DATABASE_FAILED', message: /a later version of qtunnel made it/ });
});

test('a mapping that no hub has written is named, whatever is wrong with it', async (t) => {
  const file = path.join(temporaryFolder(t), 'hub.db');
  const store = await openStore(file);
  t.teardown(() => store.close());
  await store.addMapping(kept(10_022), ANNA);
  const { DatabaseSync } = await import('@photostructure/sqlite');
  const database = new DatabaseSync(file);
  t.teardown(() => database.close());
  for (const change of [
    "allow = 'null'",
    "allow = '[1]'",
    "allow = '['",
    'target_port = 0',
    "target_host = ''",
    "bandwidth = 'much'",
    'bandwidth = -1',
    "via = 'ssh'",
    "agent = '../x'",
    "created_at = 'once'",
    'port = 99999',
  ]) {
    database.exec(`update mappings set ${change}`);
    const column = change.split(' ', 1)[0]!;
    const named = new RegExp(`^The database has a mapping that no hub has written: tcp/\\d+ in the table mappings, ${column}\\.`);
    await t.rejects(store.mappings(), { code: 'DATABASE_FAILED', message: named }, change);
    database.exec('delete from mappings');
    await store.addMapping(kept(10_022), ANNA);
  }
  t.match(await store.mappings(), [{ mapping: { port: 10_022 } }]);
});

test('a folder that cannot be written, and a URL of another database, are refused with what to do', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(path.join(folder, 'hub.db'));
  await t.rejects(openStore(path.join(folder, 'hub.db')), { code: 'DATABASE_FAILED', message: /-database/ });
  for (const scheme of ['mysql://', 'MySQL://', 'postgres:/', 'postgresql+x://', 'file:/', 's3://']) {
    const error = await openStore(`${scheme}user:password@host/name`).catch((thrown: unknown) => thrown);
    t.match(error, { code: 'DATABASE_FAILED', message: `"${scheme.split(':')[0]}:` });
    t.notOk(String(error).includes('password'));
  }
});

test('a step of the migrations that fails half way has done nothing', async (t) => {
  const { dialect } = await openSqlite(path.join(temporaryFolder(t), 'hub.db'));
  const db = new Kysely<unknown>({ dialect });
  t.teardown(() => db.destroy());
  const half = {
    up: async (database: Kysely<unknown>) => {
      await database.schema.createTable('half').addColumn('id', 'integer').execute();
      throw new Error('the power is gone');
    },
  };
  const { error } = await new Migrator({ db, provider: { getMigrations: () => Promise.resolve({ half }) } }).migrateToLatest();
  t.match(error, { message: 'the power is gone' });
  t.notOk((await db.introspection.getTables()).some(({ name }) => name === 'half'));
});

test('kill -9 in the middle of writes: what was promised is there, what is there is whole', async (t) => {
  const file = path.join(temporaryFolder(t), 'hub.db');
  const random = seededRandom(7);
  let promised = 0;
  for (let round = 0; round < 5; round++) {
    const writer = start(t, process.execPath, [WRITER, file, String(promised)]);
    const wanted = integerBetween(random, 0, 40);
    await writer.waitFor(`${wanted} mappings`, () => (writer.lines.length >= wanted ? true : undefined));
    await writer.kill();
    promised += writer.lines.filter((line) => line === 'done').length;

    const store = await openStore(file);
    const mappings = await store.mappings();
    const entries = await store.audit(1_000);
    const totals = await store.totals();
    await store.close();
    t.ok(mappings.length === promised || mappings.length === promised + 1, `${mappings.length} mappings, ${promised} promised`);
    t.equal(entries.length, mappings.length, 'a line in the log for each');
    t.same(
      mappings.map(({ mapping }) => mapping.port),
      mappings.map((_, index) => index + 1),
    );
    for (const { connections, bytesIn } of totals) t.equal(bytesIn, connections * 10, 'no counter without its others');
    promised = mappings.length;
  }
  t.ok(promised > 0);
});

test('another process that holds the file: what is written waits, without holding up the thread', async (t) => {
  const file = path.join(temporaryFolder(t), 'hub.db');
  const store = await openStore(file);
  const { DatabaseSync } = await import('@photostructure/sqlite');
  const other = new DatabaseSync(file);
  t.teardown(async () => {
    other.close();
    await store.close();
  });
  other.exec('begin immediate');
  const changes = Promise.all([store.addMapping(kept(1), ANNA), store.addTraffic([traffic(1, '192.0.2.1')])]);
  changes.catch(() => {});
  t.same(await store.mappings(), [], 'readers need not');
  other.exec('rollback');
  t.strictSame(await changes, [true, undefined]);
  t.equal((await store.audit(10)).length, 1, 'once');
});

test(
  'a full disk: what fails says so and has not been done, and there is no trace of it when there is room',
  { skip: process.getuid?.() !== 0 ? 'a disk of its own needs root' : missing('mount') },
  async (t) => {
    const disk = path.join(temporaryFolder(t), 'disk');
    mkdirSync(disk);
    await run(t, 'mount', ['-t', 'tmpfs', '-o', 'size=512k', 'none', disk]);
    t.teardown(() => spawnSync('umount', ['-l', disk]));
    const store = await openStore(path.join(disk, 'hub.db'));
    t.teardown(() => store.close());
    let made = 0;
    const note = 'x'.repeat(1_000);
    const fill = async (): Promise<unknown> => {
      for (; ; made++) await store.addMapping(kept(made + 1, { note }), ANNA);
    };
    await t.rejects(fill(), {
      code: 'DATABASE_FAILED',
      message: /\((disk I\/O error|database or disk is full)\): check the database, and the disk/,
    });
    t.ok(made > 10);
    t.equal((await store.mappings()).length, made);
    t.equal((await store.audit(1_000)).length, made);
    await run(t, 'mount', ['-o', 'remount,size=4m', disk]);
    t.ok(await store.addMapping(kept(made + 1), ANNA));
    t.equal((await store.mappings()).length, made + 1);
  },
);

const WRITER = fileURLToPath(new URL('../support/writer.js', import.meta.url));
