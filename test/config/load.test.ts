import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { type Test, test } from 'tap';
import { parseArguments } from '../../src/cli/arguments.ts';
import { defaultMaxMemory, defaultStateDir } from '../../src/config/defaults.ts';
import { readTunnelsFile } from '../../src/config/file.ts';
import { type Configuration, settleConfiguration } from '../../src/config/load.ts';
import type { TunnelSettings } from '../../src/config/settings.ts';

const FILE = `log-level: warn
metrics: 127.0.0.1:9090
defaults:
  quic: true
  secret-file: etc/secret
  pin: ${'12'.repeat(32)}
  idle-timeout: 20s
tunnels:
  web: { listen: :9001, backend: "127.0.0.1:80", idle-timeout: 10s }
  ssh: { clientmode: true, listen: ":2222", backend: "example.org:9001", buffer: 131072 }
`;

function write(t: Test, text: string): string {
  const file = path.join(t.testdir(), 'tunnels.yaml');
  writeFileSync(file, text);
  return file;
}

function load(words: string[], environment: Record<string, string> = {}): Configuration {
  return settleConfiguration(parseArguments(words), { HOME: '/home/me', ...environment }, readTunnelsFile);
}

function only(words: string[], environment: Record<string, string> = {}): TunnelSettings {
  const [tunnel, ...more] = load(words, environment).tunnels;
  if (tunnel === undefined || more.length > 0) throw new Error('not one tunnel');
  return tunnel;
}

test('nothing given: one tunnel with the documented defaults', (t) => {
  const { stateDir, knownHosts, ...rest } = only([]);
  t.match(stateDir, /qtunnel$/);
  t.equal(knownHosts, path.join(stateDir, 'known_hosts'));
  t.strictSame(rest, {
    tag: 'default',
    clientmode: false,
    listen: { host: '', port: 9001 },
    backend: { host: '127.0.0.1', port: 6400 },
    otherServers: [],
    backends: {},
    target: null,
    proxyProtocol: false,
    quic: false,
    fallback: true,
    transport: 'quic',
    earlyData: false,
    secret: null,
    secretFile: null,
    clients: null,
    clientName: null,
    certFile: null,
    keyFile: null,
    clientCa: null,
    caFile: null,
    pin: null,
    insecure: false,
    congestion: 'bbr',
    blocks: 'auto',
    fec: 'auto',
    udp: 'auto',
    idleTimeout: 30_000,
    keepalive: 1000,
    dialTimeout: 10_000,
    drainTimeout: 30_000,
    maxConnections: 10_000,
    bandwidth: null,
    buffer: 16 * 1024 ** 2,
    handshakeTimeout: 10_000,
    handshakeBytes: 32 * 1024,
    handshakeDatagrams: 32,
    maxHandshakes: 256,
    maxHandshakesPerSource: 64,
    maxConnectionsPerClient: null,
    maxLinksPerClient: 1_000,
    retryAbove: 64,
    attemptsPerSource: 10,
  });
  t.end();
});

test('command line over environment over the tunnel over the defaults', (t) => {
  const conf = `-conf=${write(t, FILE)}`;
  const idle = (words: string[], environment = {}) =>
    load([conf, ...words], environment).tunnels.map(({ idleTimeout }) => idleTimeout);
  t.same(idle([]), [10_000, 20_000]);
  t.same(idle([], { QTUNNEL_IDLE_TIMEOUT: '7s' }), [7000, 7000]);
  t.same(idle(['-idle-timeout=5s'], { QTUNNEL_IDLE_TIMEOUT: '7s' }), [5000, 5000]);
  t.equal(load([conf]).process.logLevel, 'warn');
  t.equal(load([conf], { QTUNNEL_LOG_LEVEL: 'debug' }).process.logLevel, 'debug');
  t.equal(load([conf, '-log-level=error'], { QTUNNEL_LOG_LEVEL: 'debug' }).process.logLevel, 'error');
  t.end();
});

test('a file: tags, relative paths, numbers, and what does not fit a role left out of the defaults', (t) => {
  const file = write(t, FILE);
  const { tunnels, process } = load(['-conf', file]);
  t.same(process.metrics, { host: '127.0.0.1', port: 9090 });
  t.same(
    tunnels.map(({ tag, pin, secretFile, buffer, quic }) => ({ tag, pin, secretFile, buffer, quic })),
    [
      { tag: 'web', pin: null, secretFile: path.join(path.dirname(file), 'etc/secret'), buffer: 16 * 1024 ** 2, quic: true },
      { tag: 'ssh', pin: '12'.repeat(32), secretFile: path.join(path.dirname(file), 'etc/secret'), buffer: 131_072, quic: true },
    ],
  );
  t.same(
    load([`-conf=${file}`, '-tag=ssh']).tunnels.map(({ tag }) => tag),
    ['ssh'],
  );
  t.same(
    load([`-conf=${file}`, '-tag=ssh,web']).tunnels.map(({ tag }) => tag),
    ['web', 'ssh'],
  );
  t.same(
    load([], { QTUNNEL_CONF: file, QTUNNEL_TAG: 'ssh' }).tunnels.map(({ tag }) => tag),
    ['ssh'],
  );
  t.end();
});

test('a stronger layer takes the place of what contradicts it in a weaker one', (t) => {
  const conf = `-conf=${write(t, FILE)}`;
  const [web] = load([conf, '-secret=S']).tunnels;
  t.match(web, { secret: 'S', secretFile: null });
  const [ssh] = load([conf, '-tag=ssh', '-insecure']).tunnels;
  t.match(ssh, { insecure: true, pin: null });
  t.match(only(['-secret=S'], { QTUNNEL_SECRET_FILE: '/f' }), { secret: 'S', secretFile: null });
  t.end();
});

test('a server has one backend without a name and others under names; a client has servers, and a target', (t) => {
  const server = only(['-backend=127.0.0.1:80', '-backend', 'ssh=127.0.0.1:22', '-backend=db=[::1]:5432,web=:81']);
  t.same(server.backend, { host: '127.0.0.1', port: 80 });
  t.same(Object.entries(server.backends), [
    ['ssh', { host: '127.0.0.1', port: 22 }],
    ['db', { host: '::1', port: 5432 }],
    ['web', { host: 'localhost', port: 81 }],
  ]);
  t.equal(only(['-backend=ssh=127.0.0.1:22']).backend, null, 'named ones only');
  t.equal(only([], { QTUNNEL_BACKEND: 'ssh=127.0.0.1:22, :80' }).backends['ssh']?.port, 22);
  const [web] = load([`-conf=${write(t, 'tunnels: { web: { backend: [":80", "ssh=:22"] } }')}`]).tunnels;
  t.match(web, { backend: { port: 80 } });
  t.equal(web?.backends['ssh']?.port, 22);
  t.equal(only(['-clientmode', '-backend=s:443', '-target=ssh']).target, 'ssh');
  const client = only(['-clientmode', '-backend=a:443,b:443', '-backend=[::1]:9001']);
  t.same(client.backend, { host: 'a', port: 443 });
  t.same(client.otherServers, [
    { host: 'b', port: 443 },
    { host: '::1', port: 9001 },
  ]);
  const refused: [string[], RegExp][] = [
    [['-backend=a=:1', '-backend=a=:2'], /two addresses for "a"/],
    [['-backend=:1', '-backend=:2'], /more than one address without a name/],
    [['-clientmode', '-backend=a=:1'], /name the backend with target/],
    [['-clientmode', '-backend=a:1,b:1', '-backend=a:1'], /has a:1 twice/],
    [['-target=a'], /is for a client/],
    [['-clientmode', '-target=a b'], /expected a name/],
    [['-backend=a b=:1'], /expected a name.* before the equals sign/],
    [['-backend=a=80'], /expected an address.* after a=/],
  ];
  for (const [flags, message] of refused) t.throws(() => load(flags), { message }, flags.join(' '));
  t.end();
});

test('an empty variable counts as not set, a misspelt one is warned about, strangers are let be', (t) => {
  t.equal(only([], { QTUNNEL_BACKEND: '' }).backend?.port, 6400);
  t.same(load([], { QTUNNEL_SECERT: 'S', QTUNNEL_SERVICE_HOST: '10.0.0.1', QTUNNEL_VERSION: '3' }).warnings, [
    'QTUNNEL_SECERT is ignored; did you mean QTUNNEL_SECRET?',
  ]);
  t.end();
});

test('the state directory: systemd, XDG, home, root without a home', (t) => {
  t.equal(defaultStateDir({ STATE_DIRECTORY: '/var/lib/q:/x', HOME: '/h', XDG_STATE_HOME: '/xdg' }, true), '/var/lib/q');
  t.equal(defaultStateDir({ HOME: '/h', XDG_STATE_HOME: '/xdg' }, false), '/xdg/qtunnel');
  t.equal(defaultStateDir({ HOME: '/h', XDG_STATE_HOME: 'xdg' }, true), '/h/.local/state/qtunnel');
  t.equal(defaultStateDir({}, true), '/var/lib/qtunnel');
  t.end();
});

test('the memory that a process may have: what its cgroup may, unless that is none or too little to do anything', (t) => {
  const G = 1024 ** 3;
  t.equal(defaultMaxMemory(2 * G, 8 * G), 2 * G);
  t.equal(defaultMaxMemory(0, 8 * G), null);
  t.equal(defaultMaxMemory(2 ** 64, 8 * G), null);
  t.equal(defaultMaxMemory(64 * 1024 ** 2, 8 * G), null);
  t.end();
});

const HEAD = 'tunnels:\n  web: { listen: ":1" }\n';

/** The file, flags beside -conf, and the sentence after the file's name. */
const REFUSED: [string, string[], string][] = [
  [
    '',
    [],
    ':1: tunnels: expected tunnels under their tags, such as web: { listen: ":9001", backend: "127.0.0.1:80" }, got nothing',
  ],
  ['tunnels: {}', [], ':1: tunnels: expected at least one tunnel'],
  ['- a\n', [], ':1: expected keys such as tunnels: and defaults:, got ["a"]'],
  [`${HEAD}  ssh: 5\n`, [], ':3: ssh: expected settings such as listen: ":9001", got "5"'],
  [`${HEAD}  ssh:\n    lisen: ":2"\n`, [], ':4: lisen: unknown key; did you mean listen?'],
  [`${HEAD}tunels: 1\n`, [], ':3: tunels: unknown key; did you mean tunnels?'],
  [
    `${HEAD}xyz: 1\n`,
    [],
    ':3: xyz: unknown key; expected one of max-memory, workers, supervise, hang-timeout, metrics, logto, log-level, log-format, defaults, tunnels',
  ],
  [`${HEAD}listen: ":1"\n`, [], ':3: listen: concerns a tunnel: move it under defaults or under a tunnel'],
  [`${HEAD}conf: a\n`, [], ':3: conf: is not for a file: give it on the command line'],
  [`${HEAD}defaults:\n  metrics: ":1"\n`, [], ":4: metrics: concerns the whole process: move it to the file's top level"],
  [`${HEAD}defaults:\n  idle-timeout: 30\n`, [], ':4: idle-timeout: expected a duration such as 500ms, 5s, 2m or 1h, got "30"'],
  [`${HEAD}defaults:\n  quic: yes\n`, [], ':4: quic: expected true or false, got "yes"'],
  [`${HEAD}defaults:\n  quic:\n`, [], ':4: quic: expected true or false, got null'],
  [
    `${HEAD}defaults:\n  listen: [1, 2]\n`,
    [],
    ':4: listen: expected an address such as :8080, host:443 or [::1]:443, got ["1","2"]',
  ],
  [`${HEAD}defaults:\n  secret: [hush]\n`, [], ':4: secret: expected at least one character'],
  [`${HEAD}  web: { listen: ":2" }\n`, [], ':3: this key stands here twice; keep one of them'],
  [`${HEAD}  "a b": { listen: ":2" }\n`, [], ':3: a b: expected a tag of letters, digits, "-", "_" and "."'],
  [
    `${HEAD}defaults: { quic: true\n`,
    [],
    ':4: not valid YAML: Flow map in block collection must be sufficiently indented and end with a }',
  ],
  [
    `${HEAD}  ssh:\n    insecure: true\n`,
    [],
    ':4: insecure is for a client, and this tunnel is a server: a server trusts nobody by certificate; add -clientmode, or leave it out',
  ],
  [`${HEAD}  ssh:\n    cert-file: a\n`, [], ":4: cert-file needs the certificate's private key: add key-file"],
  [`${HEAD}defaults:\n  keepalive: 40s\n`, [], ':4: keepalive: expected less than idle-timeout\'s 30s, got "40s"'],
];

for (const [text, words, sentence] of REFUSED) {
  test(`refused in a file: ${sentence}`, (t) => {
    const file = write(t, text);
    t.throws(() => load([`-conf=${file}`, ...words]), { code: 'CONFIG_INVALID', message: file + sentence });
    t.end();
  });
}

test('two errors in a file: the first one is named', (t) => {
  const file = write(t, `log-level: loud\n${HEAD}xyz: 1\n`);
  const message = `${file}:1: log-level: expected trace, debug, info, warn, error or silent, got "loud"`;
  t.throws(() => load([`-conf=${file}`]), { message });
  t.end();
});

test('two tunnels on the same address, an unknown tag, a flag that fits no tunnel, a file that is not there', (t) => {
  const file = write(t, `${HEAD}  ssh: { listen: ":1" }\n`);
  const conf = `-conf=${file}`;
  t.throws(() => load([conf]), {
    code: 'CONFIG_INVALID',
    message: `the tunnels web (${file}:2) and ssh (${file}:3) both listen on :1: give each its own`,
  });
  t.throws(() => load([conf, '-tag=wbe']), {
    code: 'USAGE',
    message: `-tag: there is no tunnel "wbe" in ${file}; it has web, ssh`,
  });
  t.throws(() => load([conf, '-tag=web', '-known-hosts=x']), {
    message: '-known-hosts is for a client, and this tunnel is a server: add -clientmode, or leave it out',
  });
  t.throws(() => load(['-conf=none/t.yaml']), {
    code: 'FILE_UNREADABLE',
    message: '-conf: the file none/t.yaml cannot be read (ENOENT): check the path and its permissions',
  });
  t.end();
});

test('an alias is followed, and one that contains itself does not hang', (t) => {
  const file = write(t, 'tunnels:\n  a: &a { listen: ":1", quic: &q true }\n  b: { listen: ":2", quic: *q }\n');
  t.same(
    load([`-conf=${file}`]).tunnels.map(({ quic }) => quic),
    [true, true],
  );
  t.throws(() => load([`-conf=${write(t, 'tunnels: &t { a: *t }\n')}`]), { code: 'CONFIG_INVALID' });
  t.end();
});

test('workers are the process’s, 1 to 64; more than there are cores gets a warning', (t) => {
  t.equal(load([]).process.workers, 1);
  const file = write(t, `workers: 2\n${HEAD}`);
  t.equal(load([`-conf=${file}`]).process.workers, 2);
  t.equal(load([`-conf=${file}`, '-workers=1']).process.workers, 1);
  for (const bad of ['0', '65', 'two'])
    t.throws(() => load([`-workers=${bad}`]), { code: 'USAGE', message: /^-workers: expected/ });
  t.same(load(['-workers=1']).warnings, []);
  if (availableParallelism() < 64) t.match(load(['-workers=64']).warnings, [/^-workers=64: this process may use \d+ core/]);
  t.end();
});
