import type { Test } from 'tap';
import { openStore } from '../../../src/hub/store/open.ts';
import { ANNA, kept, traffic } from '../support/mappings.ts';

/** What every store does, whichever database is below it. `database` is empty. */
export async function storeContract(t: Test, database: string): Promise<void> {
  const store = await openStore(database);
  t.teardown(() => store.close());

  await t.test('keeps mappings as they are, in order, one for each protocol and port', async (t) => {
    const full = kept(10_022, {
      protocol: 'udp',
      via: 'direct',
      agent: 'a',
      target: { host: 'fd00::1', port: 53 },
      allow: ['10.0.0.0/8', '::1'],
      bandwidth: 1_250_000,
      note: 'it\'s "quoted" – ünïcode; drop table mappings',
    });
    t.ok(await store.addMapping(full, ANNA));
    t.ok(await store.addMapping(kept(10_022), ANNA));
    t.ok(await store.addMapping(kept(10_001), ANNA));
    t.notOk(await store.addMapping(kept(10_022, { note: 'another' }), ANNA), 'the second of a port is refused');
    t.same(await store.mappings(), [kept(10_001), kept(10_022), full]);
  });

  await t.test('changes a mapping that there is, and nothing else of it', async (t) => {
    const changed = kept(10_001, {
      agent: 'b',
      target: { host: 'h', port: 1 },
      allow: ['10.0.0.0/8'],
      bandwidth: 1_000,
      note: 'n',
    });
    t.ok(await store.updateMapping(changed.mapping, ANNA));
    t.same((await store.mappings())[0], changed);
    t.match(await store.audit(1), [{ action: 'mapping.update', subject: 'tcp/10001', detail: { note: 'n' } }]);
    t.notOk(await store.updateMapping(kept(10_002).mapping, ANNA));
    t.equal((await store.mappings()).length, 3);
    t.ok(await store.updateMapping(kept(10_001).mapping, ANNA));
  });

  await t.test('removes a mapping once, with its counters', async (t) => {
    await store.addTraffic([traffic(10_001, '192.0.2.7')]);
    t.equal((await store.totals()).length, 1);
    t.ok(await store.removeMapping('tcp', 10_001, ANNA));
    t.notOk(await store.removeMapping('tcp', 10_001, ANNA));
    t.same(await store.totals(), []);
    t.equal((await store.mappings()).length, 2);
  });

  await t.test('adds counters up by mapping and client, and passes over mappings that it does not keep', async (t) => {
    const later = new Date(1_800_000_000_000);
    await store.addTraffic([
      traffic(10_022, '192.0.2.1'),
      traffic(10_022, '192.0.2.2', { bytesIn: 1e12 }),
      traffic(4_000, '192.0.2.1'),
    ]);
    await store.addTraffic([traffic(10_022, '192.0.2.1', { connections: 0, bytesIn: 5, bytesOut: 0, seenAt: later })]);
    t.same(await store.traffic(), [
      traffic(10_022, '192.0.2.2', { bytesIn: 1e12 }),
      traffic(10_022, '192.0.2.1', { bytesIn: 15, seenAt: later }),
    ]);
    t.same(await store.traffic({ protocol: 'tcp', port: 10_022 }, 1), [traffic(10_022, '192.0.2.2', { bytesIn: 1e12 })]);
    t.same(await store.traffic({ protocol: 'udp', port: 10_022 }), []);
    t.same(await store.totals(), [traffic(10_022, '', { connections: 2, bytesIn: 1e12 + 15, bytesOut: 200, seenAt: later })]);
  });

  await t.test('folds the clients together that it has not seen for longest, and loses no byte', async (t) => {
    const many = Array.from({ length: 1_020 }, (_, index) =>
      traffic(10_022, `198.51.100.${index}`, { seenAt: new Date(1_900_000_000_000 + index) }),
    );
    const before = (await store.totals())[0]!;
    await store.addTraffic(many);
    for (let flush = 0; flush < 10; flush++) await store.addTraffic([]);
    const lines = await store.traffic();
    t.equal(lines.length, 1_001, 'a thousand, and one for the rest');
    t.notOk(
      lines.some(({ client }) => client === '192.0.2.1'),
      'who was not seen for long has none',
    );
    t.ok(lines.some(({ client }) => client === '198.51.100.1019'));
    const after = (await store.totals())[0]!;
    t.equal(after.bytesIn, before.bytesIn + 10 * many.length);
    t.equal(after.connections, before.connections + many.length);
  });

  await t.test('keeps tokens', async (t) => {
    const token = { id: 'abc', name: 'ops', role: 'manage', hash: 'f'.repeat(64), createdAt: new Date(1_700_000_000_000) } as const;
    await store.addToken(token, ANNA);
    t.same(await store.tokens(), [token]);
    t.ok(await store.removeToken('abc', ANNA));
    t.notOk(await store.removeToken('abc', ANNA));
    t.same(await store.tokens(), []);
  });

  await t.test('writes down each change, and nothing that did not happen', async (t) => {
    const entries = await store.audit(100);
    t.same(
      entries.map(({ action, subject }) => `${action} ${subject}`),
      [
        'token.remove abc',
        'token.create abc',
        'mapping.remove tcp/10001',
        'mapping.update tcp/10001',
        'mapping.update tcp/10001',
        'mapping.create tcp/10001',
        'mapping.create tcp/10022',
        'mapping.create udp/10022',
      ],
    );
    t.match(entries[1], { ...ANNA, detail: { name: 'ops', role: 'manage' } });
    t.notOk(JSON.stringify(entries).includes('fffff'), 'no hash in it');
    t.same(await store.audit(2, entries[1]!.id), entries.slice(2, 4), 'page by page');
  });

  await t.test('has everything again when it is opened again', async (t) => {
    const again = await openStore(database);
    t.teardown(() => again.close());
    t.same(await again.mappings(), await store.mappings());
    t.same(await again.totals(), await store.totals());
    t.same(await again.audit(100), await store.audit(100));
  });
}
