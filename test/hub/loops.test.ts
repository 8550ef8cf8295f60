import os from 'node:os';
import { test } from 'tap';
import { refuseLoop } from '../../src/hub/loops.ts';
import type { Mapping } from '../../src/hub/mapping.ts';

type Way = readonly [port: number, host: string, target: number, changes?: Partial<Mapping>];

const own = Object.values(os.networkInterfaces()).flatMap((entries) => entries ?? []);

test('a direct mapping that comes back to itself, over any of its own addresses, is refused', (t) => {
  for (const host of [
    'localhost',
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '0.0.0.0',
    '::ffff:127.0.0.1',
    ...own.map(({ address }) => address),
  ])
    t.throws(() => judge([[10_001, host, 10_001]]), { code: 'MAPPING_LOOPS', message: /tcp\/10001 → tcp\/10001\./ }, host);
  t.throws(() => judge([[10_001, '192.0.2.1', 10_001]], '192.0.2.1'), { code: 'MAPPING_LOOPS' });
  t.throws(() => judge([[10_001, 'localhost', 10_001]], '127.0.0.1'), { code: 'MAPPING_LOOPS' });
  t.end();
});

test('one that comes back by way of others is refused', (t) => {
  const three: Way[] = [
    [10_001, 'localhost', 10_002],
    [10_002, '127.0.0.1', 10_003],
    [10_003, 'localhost', 10_001],
  ];
  t.throws(() => judge(three), { code: 'MAPPING_LOOPS', message: /tcp\/10001 → tcp\/10002 → tcp\/10003 → tcp\/10001\./ });
  // It leads to a circle that is there already.
  t.throws(() => judge([[10_000, 'localhost', 10_001], ...three]), { code: 'MAPPING_LOOPS' });
  t.end();
});

test('what leads elsewhere in the end is taken', (t) => {
  const taken: (readonly [string, readonly Way[], string?])[] = [
    ['a service on the hub itself', [[10_001, 'localhost', 22]]],
    [
      'another mapping',
      [
        [10_001, 'localhost', 10_002],
        [10_002, '192.0.2.7', 22],
      ],
    ],
    ['another machine’s port of the same number', [[10_001, '192.0.2.7', 10_001]]],
    ['an agent’s own port of that number', [[10_001, 'localhost', 10_001, { via: 'agent' }]]],
    [
      'one through an agent',
      [
        [10_001, 'localhost', 10_002],
        [10_002, 'localhost', 10_001, { via: 'agent' }],
      ],
    ],
    [
      'the other protocol',
      [
        [10_001, 'localhost', 10_002],
        [10_002, 'localhost', 10_001, { protocol: 'udp' }],
      ],
    ],
    ['an address that the ports are not on', [[10_001, '127.0.0.1', 10_001]], '192.0.2.1'],
    [
      'one before',
      [
        [10_001, 'localhost', 10_002],
        [10_002, 'localhost', 10_003],
        [10_003, 'localhost', 22],
      ],
    ],
  ];
  for (const [name, ways, host] of taken) t.doesNotThrow(() => judge(ways, host), name);
  t.end();
});

/** The first of them where the others are. */
function judge(ways: readonly Way[], host = ''): void {
  const all = ways.map(([port, target, targetPort, changes = {}]): Mapping => {
    const address = { host: target, port: targetPort };
    return {
      protocol: 'tcp',
      port,
      via: 'direct',
      agent: '',
      target: address,
      allow: [],
      bandwidth: Infinity,
      note: '',
      ...changes,
    };
  });
  refuseLoop(all[0]!, host, (protocol, port) => all.slice(1).find((each) => each.protocol === protocol && each.port === port));
}
