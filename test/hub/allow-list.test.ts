import { test } from 'tap';
import { AllowList, isIn, parseNetworks } from '../../src/hub/allow-list.ts';
import { value } from './hubs.ts';

const list = (...texts: string[]) => value(AllowList.parse(texts));

void test('an entry has an address or a network, and a port, a range, or all', async (t) => {
  const cases: [entry: string, host: string, port: number, has: boolean][] = [
    ['127.0.0.1:22', '127.0.0.1', 22, true],
    ['127.0.0.1:22', '127.0.0.1', 23, false],
    ['127.0.0.1:22', '127.0.0.2', 22, false],
    ['10.0.0.0/8:80-443', '10.255.1.2', 443, true],
    ['10.0.0.0/8:80-443', '10.255.1.2', 444, false],
    ['10.0.0.0/8:80-443', '11.0.0.1', 80, false],
    ['10.0.0.0/8', '10.1.1.1', 65_535, true],
    ['10.0.0.0/8:*', '10.1.1.1', 1, true],
    ['[fd00::]/8:5432', 'fd12::1', 5432, true],
    ['[fd00::]/8:5432', 'fe12::1', 5432, false],
    ['[::1]:22', '::1', 22, true],
    ['localhost:*', '127.8.9.10', 22, true],
    ['localhost:*', '::1', 22, true],
    ['localhost:*', '0.0.0.0', 22, false],
    ['localhost:*', '::', 22, false],
    ['localhost:22', '127.0.0.1', 23, false],
    ['0.0.0.0/0:22', '192.0.2.1', 22, true],
    ['0.0.0.0/0:22', '2001:db8::1', 22, false],
    ['127.0.0.1:22', '::ffff:127.0.0.1', 22, true],
    ['127.0.0.1:22', '::ffff:7f00:1', 22, true],
    ['127.0.0.1:22', '0:0:0:0:0:FFFF:7F00:0001', 22, true],
    ['10.0.0.0/8:22', '::ffff:7f00:1', 22, false],
    ['127.0.0.1:22', 'localhost', 22, false],
  ];
  for (const [entry, host, port, has] of cases) t.equal(list(entry).has(host, port), has, `${entry} ${host}:${port}`);
});

void test('what is no entry is refused, and says which', async (t) => {
  for (const text of [
    '',
    'host:22',
    '127.0.0.1:',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.0.0.1:5-4',
    '10.0.0.0/33:1',
    '10.0.0/8',
    'fd00::/8:1',
    '[127.0.0.1]:1',
    '::1',
    '10.0.0.0/8/9:1',
    '1.2.3.4:22-',
    '127.0.0.1:22;x',
    `${'1'.repeat(70)}:1`,
  ])
    t.match(AllowList.parse(['127.0.0.1:22', text]), { expected: /such as 127\.0\.0\.1:22/ }, text);
});

void test('a hub takes a name that only the agent can resolve for offered when its port is', async (t) => {
  const it = list('10.0.0.0/8:80-443', 'localhost:22');
  for (const [host, port, may] of [
    ['db.internal', 80, true],
    ['db.internal', 22, true],
    ['db.internal', 23, false],
    ['LocalHost', 22, true],
    ['localhost', 80, false],
    ['10.1.2.3', 80, true],
    ['192.0.2.1', 80, false],
  ] as const)
    t.equal(it.mayHave({ host, port }), may, `${host}:${port}`);
});

void test('a name is dialled at those of its addresses that are in the list, and at no other', async (t) => {
  const lookup = (entry: string, all: boolean) =>
    new Promise<unknown>((resolve) => {
      list(entry).lookupFor({ host: 'localhost', port: 22 })('localhost', { all }, (error, address) =>
        resolve(error?.code ?? address),
      );
    });
  t.strictSame(await lookup('127.0.0.1:22', true), [{ address: '127.0.0.1', family: 4 }]);
  t.equal(await lookup('127.0.0.0/8:*', false), '127.0.0.1');
  t.equal(await lookup('127.0.0.1:23', true), 'TARGET_FORBIDDEN');
  t.equal(await lookup('10.0.0.0/8:22', true), 'TARGET_FORBIDDEN');
});

void test('networks of clients', async (t) => {
  const networks = value(parseNetworks(['192.0.2.0/24', '2001:db8::/32', '198.51.100.7']));
  for (const [host, within] of [
    ['192.0.2.255', true],
    ['::ffff:192.0.2.1', true],
    ['192.0.3.1', false],
    ['2001:db8:1::1', true],
    ['2001:db9::1', false],
    ['198.51.100.7', true],
    ['198.51.100.8', false],
    ['fe80::1%eth0', false],
  ] as const)
    t.equal(isIn(networks, host), within, host);
  for (const text of ['', 'x', '192.0.2.0/33', '192.0.2.0/-1', '192.0.2.0/', '::/129', '1.2.3.4:22'])
    t.ok('expected' in parseNetworks([text]), text);
});
