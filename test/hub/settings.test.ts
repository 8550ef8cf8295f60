import { hostname } from 'node:os';
import path from 'node:path';
import { test } from 'tap';
import { readFlags } from '../../src/cli/arguments.ts';
import { AGENT_FLAGS, HUB_FLAGS } from '../../src/hub/flags.ts';
import { agentHelp, hubHelp } from '../../src/hub/help.ts';
import { formatPorts, parsePorts } from '../../src/hub/port-range.ts';
import { settleAgent, settleHub } from '../../src/hub/settings.ts';
import { decodeTarget, encodeTarget } from '../../src/hub/target.ts';
import { formatWish, parseWish } from '../../src/hub/wish.ts';
import { value } from './hubs.ts';

const hub = (words: readonly string[], environment = {}) =>
  settleHub(readFlags(words, { flags: HUB_FLAGS, help: '' }), environment).tunnels[0];
const agent = (words: readonly string[], environment = {}) =>
  settleAgent(readFlags(words, { flags: AGENT_FLAGS, help: '' }), environment).tunnels[0];

void test('a hub: command line over environment over file over defaults', async (t) => {
  t.match(hub([]), {
    takesAgents: true,
    ports: { host: '', first: 10_000, last: 10_100 },
    tunnel: { clientmode: false, quic: true, fallback: true, listen: { host: '', port: 9000 }, backend: null, backends: {} },
  });
  const folder = t.testdir({
    'hub.yaml':
      'port_range: { from: 20000, end: 20010 }\ntunnel: { enabled: false, listen_port: 9001 }\nsecret-file: s\nmax-connections: 7\n',
    'one.yaml': 'port_range: { from: 20000 }\nlisten: "127.0.0.1:9002"\nports: 5-6\n',
  });
  const conf = `-conf=${path.join(folder, 'hub.yaml')}`;
  t.match(hub([conf]), {
    takesAgents: false,
    ports: { first: 20_000, last: 20_010 },
    tunnel: { listen: { port: 9001 }, secretFile: path.join(folder, 's'), maxConnections: 7 },
  });
  t.match(hub([conf, '-ports=1-2', '-tunnel'], { QTUNNEL_PORTS: '3-4', QTUNNEL_MAX_CONNECTIONS: '8' }), {
    takesAgents: true,
    ports: { first: 1, last: 2 },
    tunnel: { maxConnections: 8 },
  });
  t.match(hub([conf], { QTUNNEL_PORTS: '127.0.0.1:3-4' }).ports, { host: '127.0.0.1', first: 3, last: 4 });
  t.match(hub([`-conf=${path.join(folder, 'one.yaml')}`]).ports, { first: 20_000, last: 20_000 });
});

void test('a database: a path counts from the file that has it, a URL is left as it is; a password on the command line is warned of', async (t) => {
  const url = 'postgres://user:password@host/name';
  const folder = t.testdir({
    'path.yaml': 'database: { path: hub.db }\n',
    'url.yaml': `database: { url: "${url}" }\n`,
    'both.yaml': `database: { path: "${url}" }\n`,
  });
  const databaseOf = (name: string) => hub([`-conf=${path.join(folder, name)}`]).management.database;
  t.equal(databaseOf('path.yaml'), path.join(folder, 'hub.db'));
  t.equal(databaseOf('url.yaml'), url);
  t.equal(databaseOf('both.yaml'), url);
  const warnings = (...words: string[]) => settleHub(readFlags(words, { flags: HUB_FLAGS, help: '' }), {}).warnings;
  t.match(warnings(`-database=${url}`), [/^-database: other users of this machine can read it/]);
  t.notMatch(warnings(`-database=${url}`).join(''), /postgres:/);
  t.same(warnings('-database=postgres://user@host/name'), []);
  t.same(warnings('-database=/var/lib/hub.db'), []);
});

void test('an agent: its hub, its name, what it lets through and asks for', async (t) => {
  t.match(agent(['-server=hub:9000']), {
    name: hostname(),
    wishes: [],
    tunnel: { clientmode: true, quic: true, backend: { host: 'hub', port: 9000 }, proxyProtocol: false },
  });
  t.strictSame(agent(['-server=hub:9000']).allow.texts, ['localhost:*']);
  const { name, allow, wishes, tunnel } = agent([
    '-server=hub:9000',
    '-name=box',
    '-allow=127.0.0.1:22,10.0.0.0/8:80-443',
    '-proxy-protocol',
    '-R',
    '10022:127.0.0.1:22',
    '-R=10080:[::1]:80',
  ]);
  t.equal(name, 'box');
  t.strictSame(allow.texts, ['127.0.0.1:22', '10.0.0.0/8:80-443']);
  t.strictSame(wishes, [
    { protocol: 'tcp', port: 10_022, target: { host: '127.0.0.1', port: 22 } },
    { protocol: 'tcp', port: 10_080, target: { host: '::1', port: 80 } },
  ]);
  t.equal(tunnel.proxyProtocol, true);
  const folder = t.testdir({ 'agent.yaml': 'server: hub:9000\nR: ["10022:127.0.0.1:22"]\nallow: ["127.0.0.1:22"]\n' });
  t.match(agent([`-conf=${path.join(folder, 'agent.yaml')}`]), { wishes: [{ port: 10_022 }] });
  t.equal(agent(['-server=h:1', '-client-name=laptop', '-secret=S']).name, 'laptop');
  t.match(agent([], { QTUNNEL_SERVER: 'h:1', QTUNNEL_NAME: 'x', QTUNNEL_R: '5:a:6,7:b:8' }), {
    name: 'x',
    wishes: [{ port: 5 }, { port: 7 }],
  });
});

void test('what cannot be meant is refused with what was expected', async (t) => {
  const bad: [words: string[], message: RegExp, settle: typeof hub | typeof agent][] = [
    [['-ports=2-1'], /-ports: expected the ports from the least to the largest/, hub],
    [['-ports=web'], /-ports: expected public ports such as/, hub],
    [['-ports=0-5'], /-ports: expected/, hub],
    [['-ports=1-65536'], /-ports: expected/, hub],
    [['-backend=a:1'], /unknown flag -backend/, hub],
    [[], /-server=HOST:PORT/, agent],
    [['-server=h'], /-server: expected an address/, agent],
    [['-server=h:1', '-R', '22'], /-R: expected PORT:HOST:PORT/, agent],
    [['-server=h:1', '-R', '0:a:1'], /-R: expected a public port/, agent],
    [['-server=h:1', '-R', '10022:a:99999'], /-R: expected a port.*after 10022:/, agent],
    [['-server=h:1', '-R', '1:a:1', '-R', '1:b:1'], /-R has the hub's port 1\/tcp twice/, agent],
    [['-server=h:1', '-allow=web'], /-allow: expected addresses or networks/, agent],
    [['-server=h:1', '-listen=:1'], /unknown flag -listen/, agent],
  ];
  for (const [words, message, settle] of bad) t.throws(() => settle(words), { name: 'QtunnelError', message }, words.join(' '));
  const folder = t.testdir({
    a: 'port_range: 5\n',
    b: 'port_range: { form: 1 }\n',
    c: 'tunnel: { enabled: perhaps }\n',
    d: 'prots: 1-2\n',
  });
  for (const [file, message] of [
    ['a', /a:1: port_range: expected keys of its own: from, end/],
    ['b', /b:1: form: unknown key; did you mean from\?/],
    ['c', /c:1: tunnel: expected true or false/],
    ['d', /d:1: prots: unknown key; did you mean ports\?/],
  ] as const)
    t.throws(() => hub([`-conf=${path.join(folder, file)}`]), { code: 'CONFIG_INVALID', message }, file);
});

void test('what is written is read again', async (t) => {
  for (const text of ['10000-10100', '127.0.0.1:5-6', '[::1]:5-6']) t.equal(formatPorts(value(parsePorts(text))), text);
  for (const text of ['10022:127.0.0.1:22', '1:[::1]:2', '65535:a.b-c:65535']) t.equal(formatWish(value(parseWish(text))), text);
  for (const text of ['tcp/127.0.0.1:22', 'udp/[::1]:53', 'tcp/host.name:1']) t.equal(encodeTarget(decodeTarget(text)!), text);
  for (const text of [
    '',
    'tcp/',
    'tcp/host',
    'sctp/a:1',
    'tcp/a:0',
    'tcp/a:65536',
    `tcp/${'a'.repeat(300)}:1`,
    'tcp/a b:1',
    'tcp/127.1:22',
  ])
    t.equal(decodeTarget(text), null, text);
});

void test('-help of both is at most 80 columns wide and has every flag', async (t) => {
  for (const [text, flags] of [
    [hubHelp(false), HUB_FLAGS],
    [agentHelp(false), AGENT_FLAGS],
  ] as const) {
    for (const line of text.split('\n')) t.ok(line.length <= 80, line);
    for (const { name } of flags) t.ok(text.includes(`  -${name}`), name);
  }
});
