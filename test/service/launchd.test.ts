import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Test, test } from 'tap';
import { launchdPlist } from '../../src/service/launchd-plist.ts';
import { launchd } from '../../src/service/launchd.ts';
import { planService } from '../../src/service/plan.ts';
import { qtunnel } from '../cli/command.ts';
import { temporaryFolder } from '../support/files.ts';
import { run } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { Fakes } from './fakes.ts';

const needsRoot = { skip: process.getuid?.() !== 0 && 'needs root' };
const needsPython = { skip: missing('python3') };

test('what -dry-run prints is read as the property list that was meant', needsPython, async (t) => {
  const folder = temporaryFolder(t);
  const secret = path.join(folder, `a "b" <c> & d'é`);
  writeFileSync(secret, 'a secret');
  const words = ['-name=home', '-server=hub:9000', `-secret-file=${secret}`, '-max-connections=100000', '-drain-timeout=1m'];
  const printed = await qtunnel(t, ['service', 'install', 'agent', ...words, '-manager=launchd', '-dry-run']);
  t.equal(printed.code, 0);
  const plist = await readPlist(t, printed.stdout);
  const { ProgramArguments: argv, ...rest } = plist;
  t.same(argv.slice(0, 1), [process.execPath]);
  t.match(argv[1], /qtunnel\.js$/);
  t.same(argv.slice(2, 4), ['agent', '-supervise']);
  t.ok(argv.includes(`-secret-file=${secret}`), argv.join('\n'));
  t.same(rest, {
    Label: 'qtunnel-agent-home',
    EnvironmentVariables: { STATE_DIRECTORY: '/var/db/qtunnel-agent-home' },
    UserName: '_qtunnel',
    Umask: 0o077,
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: 10,
    ExitTimeOut: 70,
    SoftResourceLimits: { NumberOfFiles: 400_000 },
    HardResourceLimits: { NumberOfFiles: 400_000 },
    ProcessType: 'Interactive',
    StandardErrorPath: '/var/log/qtunnel-agent-home.log',
  });
  t.match(printed.stderr, '/Library/LaunchDaemons/qtunnel-agent-home.plist');
  t.match(printed.stderr, '  launchctl bootstrap system /Library/LaunchDaemons/qtunnel-agent-home.plist\n');
});

test('every character of a word that XML can carry arrives; others are refused', needsPython, async (t) => {
  const plan = await planService('tunnels', null, new Map(), {});
  const word = `<&>"' \t\r\n]]> &amp; <!-- 日本 😀 \u{7F}\u{85}`;
  const program = { node: '/a <b>', script: 'c&d' };
  const { ProgramArguments: argv } = await readPlist(t, launchdPlist({ ...plan, words: [word] }, program, '/log'));
  t.same(argv, ['/a <b>', 'c&d', word]);
  for (const bad of ['\u0001', '\uFFFE', '\uD800']) {
    t.throws(() => launchdPlist({ ...plan, words: [bad] }, program, '/log'), { code: 'USAGE' });
  }
});

test('install, install again, status and uninstall are these commands', needsRoot, async (t) => {
  const { root, fakes, manager } = macOS(t);
  const file = path.join(root, 'Library/LaunchDaemons/qtunnel.plist');
  const state = path.join(root, 'var/db/qtunnel');
  const log = path.join(root, 'var/log/qtunnel.log');
  const plan = await planService('tunnels', null, new Map(), {}, manager.home);
  const started = [
    ['install', '-d', '-o', '_qtunnel', '-m', '700', state],
    ['touch', log],
    ['chown', '_qtunnel', log],
    ['launchctl', 'enable', 'system/qtunnel'],
    ['launchctl', 'bootstrap', 'system', file],
  ];
  const looked = ['launchctl', 'print', 'system/qtunnel'];

  t.match(await manager.install(plan), 'qtunnel is loaded');
  t.equal(readFileSync(file, 'utf8'), manager.job(plan).text);
  t.same(withoutId(fakes), [looked, ...started]);
  t.same(manager.job(plan).commands, started, 'as -dry-run prints them');

  await manager.install(plan);
  // The second look finds it there still: bootout returns before a service has ended.
  t.same(withoutId(fakes), [looked, ['launchctl', 'bootout', 'system/qtunnel'], looked, looked, ...started]);

  t.match(manager.status('qtunnel'), { runs: true, text: 'state = running' });
  t.match(await manager.uninstall('qtunnel'), `stopped and removed; what it has remembered is still in ${state}`);
  t.notOk(existsSync(file));
  t.same(manager.status('qtunnel'), { runs: false, text: 'there is no service qtunnel\n' });
  await t.rejects(manager.uninstall('qtunnel'), { code: 'SERVICE_FAILED', message: /there is no service qtunnel/ });
});

test('nothing is done without the user, with files closed to it, or over what somebody else made', needsRoot, async (t) => {
  const { root, fakes, manager } = macOS(t);
  const plan = await planService('tunnels', null, new Map(), {}, manager.home);
  const secret = path.join(root, 'secret');
  writeFileSync(secret, '', { mode: 0o600 });
  writeFileSync(path.join(fakes.folder, 'uid'), '12345');
  await t.rejects(manager.install({ ...plan, reads: [secret] }), { code: 'FILE_UNREADABLE', message: /chown _qtunnel/ });
  writeFileSync(path.join(fakes.folder, 'uid'), '');
  await t.rejects(manager.install(plan), { code: 'SERVICE_FAILED', message: /sysadminctl -addUser _qtunnel -roleAccount/ });
  writeFileSync(path.join(fakes.folder, 'uid'), '0');
  const { file } = manager.job(plan);
  writeFileSync(file, '<plist/>');
  await t.rejects(manager.install(plan), { code: 'FILE_EXISTS' });
  await t.rejects(manager.uninstall('qtunnel'), { code: 'FILE_EXISTS' });
  t.equal(readFileSync(file, 'utf8'), '<plist/>');
  t.same(withoutId(fakes), []);
});

test('what launchctl says of a failure is passed on', needsRoot, async (t) => {
  const { manager } = macOS(t, 'echo "Bootstrap failed: 5: Input/output error" >&2; exit 5');
  const plan = await planService('tunnels', null, new Map(), {}, manager.home);
  const message = /launchctl enable system\/qtunnel failed: Bootstrap failed: 5: Input\/output error/;
  await t.rejects(manager.install(plan), { code: 'SERVICE_FAILED', message });
});

/** A file system of its own, and programs that do as those of macOS. */
function macOS(t: Test, launchctl = LAUNCHCTL) {
  const root = temporaryFolder(t);
  for (const folder of ['Library/LaunchDaemons', 'var/log']) mkdirSync(path.join(root, folder), { recursive: true });
  const fakes = new Fakes(t, { launchctl, id: ID, install: '', touch: '', chown: '' });
  writeFileSync(path.join(fakes.folder, 'uid'), '0');
  return { root, fakes, manager: launchd(root) };
}

function withoutId(fakes: Fakes): string[][] {
  return fakes.calls().filter(([program]) => program !== 'id');
}

async function readPlist(t: Test, text: string): Promise<{ ProgramArguments: string[] }> {
  const file = path.join(temporaryFolder(t), 'x.plist');
  writeFileSync(file, text);
  return JSON.parse(
    await run(t, 'python3', ['-c', 'import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], "rb"))))', file]),
  );
}

const ID = 'cat "$HERE/uid"; test -s "$HERE/uid"';
const LAUNCHCTL = `
case $1 in
  bootstrap) : > "$HERE/loaded" ;;
  bootout) mv "$HERE/loaded" "$HERE/ending"; exit 36 ;;
  print)
    if [ -e "$HERE/ending" ]; then rm "$HERE/ending"; exit 0; fi
    [ -e "$HERE/loaded" ] || exit 113
    printf 'system/qtunnel = {\\n\\tstate = running\\n}\\n' ;;
esac`;
