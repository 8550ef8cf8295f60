import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type Test } from 'tap';
import { readClientsFile } from '../../src/config/clients.ts';
import { readTunnelsFile } from '../../src/config/file.ts';

function write(t: Test, text: string): string {
  const file = path.join(t.testdir(), 'clients.yaml');
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

test('clients have a secret or its file, and rights', async (t) => {
  const file = write(
    t,
    `clients:
  laptop: { secret: 12345, backends: [web, default], max-connections: 3, bandwidth: 1.5Mbit, ports: [10022, 10080-10089] }
  phone:
    secret-file: phone.secret
    backends: web
    ports: none
`,
  );
  const { clients, warnings } = await readClientsFile(file);
  t.same(warnings, []);
  t.same(clients, [
    {
      name: 'laptop',
      secret: '12345',
      secretFile: null,
      fingerprints: null,
      backends: ['web', 'default'],
      maxConnections: 3,
      bandwidth: 1_500_000,
      ports: [
        { first: 10_022, last: 10_022 },
        { first: 10_080, last: 10_089 },
      ],
    },
    {
      name: 'phone',
      secret: null,
      secretFile: path.join(path.dirname(file), 'phone.secret'),
      fingerprints: null,
      backends: ['web'],
      maxConnections: null,
      bandwidth: null,
      ports: [],
    },
  ]);
  chmodSync(file, 0o644);
  t.match((await readClientsFile(file)).warnings, [/can be read by other users/]);
  writeFileSync(file, 'clients: {}');
  t.same((await readClientsFile(file)).clients, [], 'none is a number of clients');
});

test('a client may have certificates in the place of a secret, or with it', async (t) => {
  const print = (digit: string) => digit.repeat(64);
  const text = `clients:
  laptop: { fingerprint: "SHA256:${'AB:'.repeat(31)}AB" }
  phone: { secret: S, fingerprint: [${print('c')}, ${print('d')}] }
`;
  t.match((await readClientsFile(write(t, text))).clients, [
    { name: 'laptop', secret: null, secretFile: null, fingerprints: ['ab'.repeat(32)] },
    { name: 'phone', secret: 'S', fingerprints: [print('c'), print('d')] },
  ]);
});

test('the same may stand in a tunnel’s own entry', async (t) => {
  const file = write(t, 'tunnels:\n  a:\n    clients: { laptop: { secret: S } }\n  b:\n    clients: other.yaml\n');
  const { tunnels } = readTunnelsFile(file);
  t.match(tunnels.get('a')?.values.get('clients')?.value, [{ name: 'laptop', secret: 'S' }]);
  t.equal(tunnels.get('b')?.values.get('clients')?.value, path.join(path.dirname(file), 'other.yaml'));
});

const BAD: [string, string, RegExp][] = [
  ['no key', 'laptop: { secret: S }', /clients\.yaml:1: /],
  ['both', 'clients:\n  laptop:\n    secret: S\n    secret-file: f\n', /:2: laptop: expected either secret or secret-file/],
  ['neither', 'clients:\n  laptop: { backends: a }\n', /:2: laptop: expected a secret-file, a secret or a fingerprint/],
  ['nothing', 'clients:\n  laptop:\n', /:2: laptop: expected what the client has/],
  ['a misspelt key', 'clients:\n  laptop:\n    secret: S\n    bakcends: a\n', /:4: bakcends: unknown key; did you mean backends/],
  ['a name', 'clients:\n  "a b": { secret: S }\n', /:2: .*expected a name/],
  ['a fingerprint', 'clients:\n  laptop: { fingerprint: abc }\n', /:2: fingerprint: expected a SHA-256 fingerprint/],
  [
    'one certificate for two',
    `clients:\n  laptop: { fingerprint: ${'a'.repeat(64)} }\n  phone: { fingerprint: ${'a'.repeat(64)} }\n`,
    /:3: fingerprint: has a certificate that is laptop's/,
  ],
  ['a limit', 'clients:\n  laptop: { secret: S,\n    max-connections: none }\n', /:3: max-connections: expected a whole number/],
  [
    'ports',
    'clients:\n  laptop: { secret: S,\n    ports: 10010-10000 }\n',
    /:3: ports: expected ports such as 10022 or 10000-10010, or none/,
  ],
  ['twice', 'clients:\n  laptop: { secret: S }\n  laptop: { secret: T }\n', /:3: this key stands here twice/],
];

for (const [what, text, message] of BAD) {
  test(`refused: ${what}`, async (t) => {
    await t.rejects(readClientsFile(write(t, text)), { code: 'CONFIG_INVALID', message });
    const indented = text.replaceAll(/^/gm, '    ');
    const file = write(t, `tunnels:\n  a:\n${indented}`);
    t.throws(() => readTunnelsFile(file), { code: 'CONFIG_INVALID' });
  });
}

test('an error does not quote a secret', async (t) => {
  const file = write(t, 'clients:\n  laptop: { secret: [hush, hush] }\n');
  await t.rejects(readClientsFile(file), { code: 'CONFIG_INVALID', message: /^((?!hush).)*$/ });
});
