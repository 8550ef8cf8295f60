import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Test, test } from 'tap';
import { planService } from '../../src/service/plan.ts';
import { taskXml } from '../../src/service/task-xml.ts';
import { windows } from '../../src/service/windows.ts';
import { qtunnel } from '../cli/command.ts';
import { temporaryFolder } from '../support/files.ts';
import { run } from '../support/process.ts';
import { missing } from '../support/programs.ts';
import { Fakes } from './fakes.ts';

const needsPython = { skip: missing('python3') };

test('what -dry-run prints is a task as the schema has it, which runs these words', needsPython, async (t) => {
  const folder = temporaryFolder(t);
  const secret = path.join(folder, `a "b" <c> & d'é`);
  writeFileSync(secret, 'a secret');
  const words = ['-server=hub:9000', `-secret-file=${secret}`];
  const { code, stdout, stderr } = await qtunnel(t, ['service', 'install', 'agent', ...words, '-manager=windows', '-dry-run']);
  t.equal(code, 0);
  const task = await readXml(t, Buffer.from(stdout));
  t.same(breaches(task), []);
  t.equal(at(task, 'Actions', 'Exec', 'Command'), process.execPath);
  const argv = argumentsOf(at(task, 'Actions', 'Exec', 'Arguments'));
  t.match(argv[0], /qtunnel\.js$/);
  t.same(argv.slice(1, 3), ['agent', '-supervise']);
  t.ok(argv.includes(`-secret-file=${secret}`), argv.join('\n'));
  t.ok(argv.includes(String.raw`-state-dir=C:\ProgramData\qtunnel-agent`), argv.join('\n'));
  t.ok(argv.includes(String.raw`-logto=C:\ProgramData\qtunnel-agent\qtunnel-agent.log`));
  t.equal(at(task, 'Triggers', 'BootTrigger', 'Enabled'), 'true');
  t.equal(at(task, 'Principals', 'Principal', 'UserId'), 'S-1-5-19');
  t.equal(at(task, 'Principals', 'Principal', 'RunLevel'), 'LeastPrivilege');
  t.equal(at(task, 'Settings', 'ExecutionTimeLimit'), 'PT0S');
  t.equal(at(task, 'Settings', 'Hidden'), 'true');
  t.equal(at(task, 'Settings', 'RestartOnFailure', 'Interval'), 'PT1M');
  t.match(
    stderr,
    String.raw`would make the folder C:\ProgramData\qtunnel-agent, write this into C:\ProgramData\qtunnel-agent.xml, and run`,
  );
  t.match(stderr, String.raw`schtasks /Create /TN qtunnel-agent /XML C:\ProgramData\qtunnel-agent.xml /F`);
  t.match(stderr, String.raw`icacls C:\ProgramData\qtunnel-agent /inheritance:r /grant:r "*S-1-5-18:(OI)(CI)F"`);
});

test('every word arrives through XML and through the rules of command lines', needsPython, async (t) => {
  const plan = await planService('tunnels', null, new Map(), {});
  const words = [
    '',
    'a b',
    'a"b',
    String.raw`a\"b`,
    'a b\\',
    'a\\\\ "',
    '\\',
    String.raw`C:\a b\c\\`,
    `<&>'`,
    '\t\r\n',
    '日本 😀',
    '100%',
  ];
  const task = await readXml(t, Buffer.from(taskXml({ ...plan, words }, { node: 'C:\\a <b>\\node.exe', script: 'C:\\c & d' })));
  t.same(breaches(task), []);
  t.equal(at(task, 'Actions', 'Exec', 'Command'), 'C:\\a <b>\\node.exe');
  t.same(argumentsOf(at(task, 'Actions', 'Exec', 'Arguments')), ['C:\\c & d', ...words]);
  for (const bad of ['%TEMP%', '$(Arg0)', '\u0001']) {
    t.throws(() => taskXml({ ...plan, words: [bad] }, { node: 'n', script: 's' }), { code: 'USAGE' }, bad);
  }
});

test('a state folder and a log that are settled stay as they are', async (t) => {
  const given = new Map([
    ['state-dir', { where: '-state-dir', value: '/state' }],
    ['logto', { where: '-logto', value: '/log' }],
  ]);
  const { words } = await planService('tunnels', null, given, {}, windows('C:\\').home);
  t.same(words, ['-supervise', '-state-dir=/state', '-logto=/log']);
});

test('install, install again, status and uninstall are these commands', needsPython, async (t) => {
  const data = temporaryFolder(t);
  const fakes = new Fakes(t, { schtasks: SCHTASKS, icacls: '' });
  const manager = windows(data);
  const file = path.join(data, 'qtunnel.xml');
  const plan = { ...(await planService('tunnels', null, new Map(), {}, manager.home)), reads: ['/a secret'] };
  const rights = ['*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F', '*S-1-5-19:(OI)(CI)M'];
  const asked = ['schtasks', '/Query', '/TN', 'qtunnel', '/XML'];
  const ended = ['schtasks', '/End', '/TN', 'qtunnel'];
  const started = [
    ['icacls', path.join(data, 'qtunnel'), '/setowner', '*S-1-5-32-544'],
    ['icacls', path.join(data, 'qtunnel'), '/reset'],
    ['icacls', path.join(data, 'qtunnel'), '/inheritance:r', '/grant:r', ...rights],
    ['schtasks', '/Create', '/TN', 'qtunnel', '/XML', file, '/F'],
    ['schtasks', '/Run', '/TN', 'qtunnel'],
  ];

  t.match(await manager.install(plan), /qtunnel is started.*\n.*LOCAL SERVICE.*\n {2}icacls \/a secret \/grant \*S-1-5-19:R\n$/);
  t.same(fakes.calls(), [asked, ...started]);
  t.same(manager.job(plan).commands, started, 'as -dry-run prints them');
  t.ok(existsSync(path.join(data, 'qtunnel')));
  const written = readFileSync(file);
  t.equal(written.toString('utf16le'), `\uFEFF${manager.job(plan).text}`);
  t.same(breaches(await readXml(t, written)), [], 'as UTF-16 too');

  await manager.install(plan);
  t.same(fakes.calls(), [asked, ended, ...started]);
  t.match(manager.status('qtunnel'), { runs: true, text: '267009' });
  t.same(fakes.calls(), [['schtasks', '/Query', '/TN', 'qtunnel', '/V', '/FO', 'LIST']]);
  t.match(await manager.uninstall('qtunnel'), 'stopped and removed');
  t.same(fakes.calls(), [asked, ended, ['schtasks', '/Delete', '/TN', 'qtunnel', '/F']]);
  t.notOk(existsSync(file));
  t.same(manager.status('qtunnel'), { runs: false, text: 'there is no service qtunnel\n' });
  await t.rejects(manager.uninstall('qtunnel'), { code: 'SERVICE_FAILED', message: /there is no service qtunnel/ });
});

test("somebody else's task of the same name is let be", async (t) => {
  const fakes = new Fakes(t, { schtasks: 'echo "<Task/>"', icacls: '' });
  const manager = windows(temporaryFolder(t));
  const plan = await planService('tunnels', null, new Map(), {}, manager.home);
  await t.rejects(manager.install(plan), { code: 'FILE_EXISTS' });
  await t.rejects(manager.uninstall('qtunnel'), { code: 'FILE_EXISTS' });
  t.ok(fakes.calls().every(([, verb]) => verb === '/Query'));
});

type Tree = readonly [tag: string, attributes: Readonly<Record<string, string>>, text: string, children: readonly Tree[]];

function readXml(t: Test, bytes: Buffer): Promise<Tree> {
  const file = path.join(temporaryFolder(t), 'task.xml');
  writeFileSync(file, bytes);
  return run(t, 'python3', ['-c', READER, file]).then((text) => JSON.parse(text) as Tree);
}

function at(tree: Tree, ...names: readonly string[]): string {
  const found = names.reduce<Tree | undefined>((parent, name) => parent?.[3].find(([tag]) => tag === NAMESPACE + name), tree);
  return found?.[2] ?? '';
}

/** What the schema does not allow. */
function breaches([tag, attributes, text, children]: Tree, above = ''): string[] {
  const name = tag.replace(NAMESPACE, '');
  const place = above === '' ? name : `${above}/${name}`;
  const rule = SCHEMA[place];
  if (rule === undefined || !tag.startsWith(NAMESPACE)) return [`${place} is unknown`];
  if (rule instanceof RegExp) return children.length === 0 && rule.test(text) ? [] : [`${place} is ${text}`];
  const names = children.map(([child]) => child.replace(NAMESPACE, ''));
  const twice = names.filter((child, index) => names.indexOf(child) !== index);
  const wrong = Object.keys(attributes).filter((key) => !['version', 'id', 'Context'].includes(key));
  const needed = rule.filter((child) => !names.includes(child)).map((child) => `${place} is without ${child}`);
  return [
    ...[...twice, ...wrong].map((what) => `${place}: ${what}`),
    ...needed,
    ...children.flatMap((child) => breaches(child, place)),
  ];
}

/** As a C program on Windows gets them ("Parsing C command-line arguments"). */
function argumentsOf(line: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let isQuoted = false;
  for (const [, slashes = '', mark = ''] of line.matchAll(/(\\*)([^\\]|$)/gsu)) {
    const isEscaped = mark === '"' && slashes.length % 2 === 1;
    const kept: string = mark === '"' ? slashes.slice(0, slashes.length >> 1) : slashes;
    if (kept !== '') word = (word ?? '') + kept;
    if (mark === '"' && !isEscaped) {
      isQuoted = !isQuoted;
      word ??= '';
    } else if ((mark === ' ' || mark === '\t') && !isQuoted) {
      if (word !== null) words.push(word);
      word = null;
    } else if (mark !== '') word = (word ?? '') + mark;
  }
  return word === null ? words : [...words, word];
}

const NAMESPACE = '{http://schemas.microsoft.com/windows/2004/02/mit/task}';
const FLAG = /^(true|false)$/;
/** For each element its text, or the children that it needs ([MS-TSCH] 2.5). All types but a trigger's are `xs:all`, in which order means nothing. */
const SCHEMA: Readonly<Record<string, RegExp | readonly string[]>> = {
  Task: ['Actions'],
  'Task/RegistrationInfo': [],
  'Task/RegistrationInfo/Author': /./,
  'Task/RegistrationInfo/Description': /./,
  'Task/Triggers': [],
  'Task/Triggers/BootTrigger': [],
  'Task/Triggers/BootTrigger/Enabled': FLAG,
  'Task/Principals': ['Principal'],
  'Task/Principals/Principal': [],
  'Task/Principals/Principal/UserId': /./,
  'Task/Principals/Principal/RunLevel': /^(LeastPrivilege|HighestAvailable)$/,
  'Task/Settings': [],
  'Task/Settings/MultipleInstancesPolicy': /^(Parallel|Queue|IgnoreNew|StopExisting)$/,
  'Task/Settings/DisallowStartIfOnBatteries': FLAG,
  'Task/Settings/StopIfGoingOnBatteries': FLAG,
  'Task/Settings/AllowHardTerminate': FLAG,
  'Task/Settings/AllowStartOnDemand': FLAG,
  'Task/Settings/Enabled': FLAG,
  'Task/Settings/Hidden': FLAG,
  'Task/Settings/ExecutionTimeLimit': /^PT\d+[HMS]$/,
  'Task/Settings/Priority': /^(\d|10)$/,
  'Task/Settings/RestartOnFailure': ['Interval', 'Count'],
  'Task/Settings/RestartOnFailure/Interval': /^PT[1-9]\d*M$/,
  'Task/Settings/RestartOnFailure/Count': /^([1-9]\d?|1\d\d|2[0-4]\d|25[0-5])$/,
  'Task/Actions': ['Exec'],
  'Task/Actions/Exec': ['Command'],
  'Task/Actions/Exec/Command': /^.{1,260}$/,
  'Task/Actions/Exec/Arguments': /./s,
  'Task/Actions/Exec/WorkingDirectory': /^.{1,260}$/,
};
const READER = `
import json, sys, xml.etree.ElementTree as tree
def read(element): return [element.tag, element.attrib, element.text or '', [read(child) for child in element]]
print(json.dumps(read(tree.parse(sys.argv[1]).getroot())))`;
const SCHTASKS = `
case $1 in
  /Create) cp "$5" "$HERE/task" ;;
  /Delete) rm "$HERE/task" ;;
  /Query)
    [ -e "$HERE/task" ] || { echo 'ERROR: The system cannot find the file specified.' >&2; exit 1; }
    if [ "$4" = /XML ]; then tr -d '\\000' < "$HERE/task"; else echo 'Last Result: 267009'; fi ;;
esac`;
