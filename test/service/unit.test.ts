import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { type Account, obstacleFor } from '../../src/service/access.ts';
import { planService, unitName } from '../../src/service/plan.ts';
import { systemdUnit } from '../../src/service/systemd-unit.ts';
import { qtunnel } from '../cli/command.ts';
import { temporaryFolder } from '../support/files.ts';
import { run } from '../support/process.ts';
import { missing } from '../support/programs.ts';

const COMMANDS = {
  'a server': ['-quic', '-listen=:443', '-backend=web=127.0.0.1:80', '-backend=127.0.0.1:81', '-secret-file=FILE'],
  'a client': ['-name=office', '-clientmode', '-backend=host:9001', '-listen=:8080', '-secret-file=FILE'],
  'a hub': ['hub', '-ports=10000-10100', '-api=127.0.0.1:8080', '-secret-file=FILE'],
  'an agent': ['agent', '-server=hub:9000', '-R', '10022:127.0.0.1:22', '-allow=127.0.0.1:22,10.0.0.0/8:80', '-secret-file=FILE'],
};

for (const [what, words] of Object.entries(COMMANDS)) {
  test(
    `the unit of ${what} is what systemd understands and calls well confined`,
    { skip: missing('systemd-analyze') },
    async (t) => {
      const folder = temporaryFolder(t);
      const secret = path.join(folder, 'secret');
      writeFileSync(secret, 'a secret');
      const { code, stdout } = await qtunnel(t, [
        'service',
        'install',
        ...words.map((word) => word.replace('FILE', secret)),
        '-dry-run',
      ]);
      t.equal(code, 0);
      t.match(stdout, ` -secret-file=${secret}`);
      t.match(stdout, what === 'a server' || what === 'a client' ? 'qtunnel.js -supervise ' : `qtunnel.js ${words[0]} -supervise `);
      t.equal(/^AmbientCapabilities=(.*)$/m.exec(stdout)?.[1], what === 'a server' ? 'CAP_NET_BIND_SERVICE' : '');
      const unit = path.join(folder, 'qtunnel.service');
      writeFileSync(unit, stdout);
      t.equal(await run(t, 'systemd-analyze', ['verify', unit]), '');
      // 0 is best and 10 worst; an ordinary service has 9.6.
      await run(t, 'systemd-analyze', ['security', '--offline=true', '--threshold=25', unit]);
    },
  );
}

test('a secret on the command line is refused, and nothing is printed', async (t) => {
  for (const words of [
    ['-quic', '-secret=hunter2'],
    ['hub', '-secret=hunter2'],
    ['agent', '-server=h:1', '-secret', 'hunter2'],
    ['hub', '-database=postgres://me:hunter2@db/hub'],
  ]) {
    const { code, stdout, stderr } = await qtunnel(t, ['service', 'install', ...words, '-dry-run']);
    t.equal(code, 2);
    t.equal(stdout, '');
    t.match(
      stderr,
      /other users of this machine can read a service's command line; (use -secret-file|write it into a file for -conf)/,
    );
    t.notMatch(stderr, 'hunter2');
  }
});

test('qtunnel service -help fits 80 columns and has its flags', async (t) => {
  const { code, stdout } = await qtunnel(t, ['service', '-help']);
  t.equal(code, 0);
  t.same(
    stdout.split('\n').filter((line) => line.length > 80),
    [],
  );
  for (const words of ['-dry-run', '-manager', '-name=NAME', 'install', 'uninstall', 'status']) t.match(stdout, words);
});

test('what is wrong with the command is said at once', async (t) => {
  const folder = temporaryFolder(t);
  for (const [words, expected] of [
    [['install', '-lisen=:1'], /unknown flag -lisen, did you mean -listen|unknown flag -lisen.*-listen/],
    [['install', '-check'], /unknown flag -check/],
    [['install', 'agent'], /an agent needs its hub/],
    [['instal'], /expected install, uninstall, status after it.*qtunnel service install/],
    [['uninstall', '-quic'], /unknown flag -quic/],
    [['install', '-name=hub-2', '-quic'], /would be the service of qtunnel hub/],
    [['install', `-conf=${folder}/none.yaml`], /none.yaml cannot be read/],
  ] as const) {
    const { code, stderr } = await qtunnel(t, ['service', ...words]);
    t.ok(code === 1 || code === 2);
    t.match(stderr, expected);
  }
});

test('files that the service cannot read, and variables that it does not see, are warned of', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(path.join(folder, 'secret'), 'a secret');
  const { code, stderr } = await qtunnel(
    t,
    ['service', 'install', '-quic', '-secret-file=secret', '-dry-run'],
    { QTUNNEL_LISTEN: ':1' },
    { cwd: folder },
  );
  t.equal(code, 0);
  t.match(stderr, `${folder}/secret`);
  t.match(stderr, 'QTUNNEL_LISTEN is set here');
});

test(
  'access by owner, group and others, and through the folders above',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async (t) => {
    const folder = temporaryFolder(t);
    chmodSync(folder, 0o711);
    const closed = path.join(folder, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    for (const file of [path.join(folder, 'file'), path.join(closed, 'file')]) writeFileSync(file, '', { mode: 0o640 });
    const file = path.join(folder, 'file');
    const stranger: Account = { uid: 12_345, gids: [12_345] };
    t.equal(obstacleFor(stranger, file, 'read'), file);
    t.equal(obstacleFor({ ...stranger, gids: [0] }, file, 'read'), null, 'by its group');
    t.equal(obstacleFor({ uid: 0, gids: [] }, path.join(closed, 'file'), 'read'), null);
    t.equal(obstacleFor({ ...stranger, gids: [0] }, path.join(closed, 'file'), 'read'), closed);
    t.equal(obstacleFor(stranger, folder, 'write'), folder);
    t.throws(() => obstacleFor(stranger, path.join(folder, 'none'), 'read'), { code: 'FILE_UNREADABLE' });
  },
);

test('the files that a conf file names, and the folders that it writes in', async (t) => {
  const folder = temporaryFolder(t);
  const conf = path.join(folder, 'tunnels.yaml');
  writeFileSync(path.join(folder, 'clients.yaml'), 'clients: { laptop: { secret-file: laptop.secret } }');
  writeFileSync(
    conf,
    'logto: log/qtunnel.log\nmetrics: ":90"\ntunnels: { a: { listen: ":9001", backend: ":80", clients: clients.yaml, drain-timeout: 5s } }',
  );
  const plan = await planService('tunnels', 'x', new Map([['conf', { where: '-conf', value: path.relative('.', conf) }]]), {});
  t.same(plan.words, ['-supervise', `-conf=${conf}`]);
  t.same(
    plan.reads.map((file) => path.relative(folder, file)),
    ['tunnels.yaml', 'clients.yaml', 'laptop.secret'],
  );
  t.same(plan.writes, [path.join(folder, 'log')]);
  t.match(plan, { unit: 'qtunnel-x', lowPorts: true, drainTimeout: 5000 });
});

test('no word of a command line means anything to systemd', { skip: missing('systemd-analyze') }, async (t) => {
  const folder = temporaryFolder(t);
  const word = `-cert-file=/a b/$HOME/%n/"quoted"/it's/back\\slash/;`;
  const plan = await planService('tunnels', null, new Map(), {});
  const text = systemdUnit({ ...plan, words: [word] }, { node: '/bin/echo', script: '/x', notifies: false });
  t.match(text, String.raw`ExecStart=/bin/echo /x "-cert-file=/a b/$$HOME/%%n/\"quoted\"/it's/back\\slash/;"`);
  writeFileSync(path.join(folder, 'x.service'), text);
  t.equal(await run(t, 'systemd-analyze', ['verify', path.join(folder, 'x.service')]), '');
});

test('names of units', async (t) => {
  t.same(
    [unitName('tunnels', null), unitName('tunnels', 'a'), unitName('hub', null), unitName('agent', 'b')],
    ['qtunnel', 'qtunnel-a', 'qtunnel-hub', 'qtunnel-agent-b'],
  );
});
