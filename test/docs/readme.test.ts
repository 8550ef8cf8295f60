import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { parseArguments, readFlags } from '../../src/cli/arguments.ts';
import { readTunnelsFile } from '../../src/config/file.ts';
import { environmentName, findFlag, FLAGS, type FlagShape } from '../../src/config/flags.ts';
import { readSettingsFile } from '../../src/hub/file.ts';
import { AGENT_FLAGS, HUB_FLAGS } from '../../src/hub/flags.ts';
import { MANAGE_FLAGS } from '../../src/hub/manage/flags.ts';
import { settleAgent, settleHub } from '../../src/hub/settings.ts';
import { BENCH_FLAGS } from '../../src/measure/flags.ts';
import { settleBench } from '../../src/measure/settings.ts';
import { grammarOf, SERVICE_FLAGS, type Verb } from '../../src/service/flags.ts';

const README = readFileSync('README.md', 'utf8');

test('the README’s table has each flag, in their order, with its default and its choices', async (t) => {
  const rows = rowsOf(section(README, 'All flags'));
  t.same(
    rows.map(([flag = '']) => /^`-([a-z-]+)/.exec(flag)?.[1]),
    FLAGS.map(({ name }) => name),
  );
  for (const [index, [, byDefault, meaning = '']] of rows.entries()) {
    const flag: FlagShape = FLAGS[index]!;
    t.equal(byDefault, defaultCell(flag), `${flag.name}: its default`);
    t.ok(meaning.length > 5, `${flag.name}: what it does`);
    for (const choice of flag.choices ?? []) t.ok(meaning.includes(`\`${choice}\``), `${flag.name}: ${choice}`);
  }
});

test('what the README tells to type is understood: flags, variables, and the YAML file', async (t) => {
  const commands = commandsOf(README);
  t.ok(commands.length > 10);
  for (const command of [...commands, ...commandsOf(readFileSync('docs/BENCH.md', 'utf8'))])
    t.ok(parse(command), command.join(' '));
  for (const [, name = ''] of README.matchAll(/`--?([a-z][a-z-]+)(?:=[^`]*)?`/g)) {
    t.ok(findFlag(name) ?? OTHER_FLAGS.find((flag) => flag.name === name), `-${name}`);
  }
  const variables = new Set<string>(FLAGS.map(({ name }) => environmentName(name)));
  for (const [variable] of README.matchAll(/QTUNNEL_[A-Z_]+/g)) t.ok(variables.has(variable), variable);

  const files = [...README.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text ?? '');
  t.ok(files.length > 0);
  for (const text of files) t.ok(readExample(t.testdir({ 'example.yaml': text }), text), text);
});

test('every relative link of the documents leads somewhere', async (t) => {
  for (const file of DOCUMENTS) {
    const links = linksOf(readFileSync(file, 'utf8'));
    for (const link of links) {
      const [target = '', anchor] = link.split('#');
      const text = readOrNull(target === '' ? file : path.join(path.dirname(file), target));
      t.not(text, null, `${file}: ${link}`);
      if (anchor !== undefined) t.ok(anchorsOf(text ?? '').includes(anchor), `${file}: ${link}`);
    }
  }
});

/** The first line says whose file it is. */
function readExample(folder: string, text: string): boolean {
  const file = path.join(folder, 'example.yaml');
  if (text.startsWith('# hub.yaml')) return readSettingsFile(file, HUB_FLAGS, 'hub').size > 0;
  if (text.startsWith('# agent.yaml'))
    return settleAgent(new Map([['conf', { where: '-conf', value: file }]]), {}).tunnels.length > 0;
  return readTunnelsFile(file).tunnels.size > 0;
}

function parse([first, ...rest]: readonly string[]): unknown {
  if (rest.some((word) => word.startsWith('-conf=')) && (first === 'hub' || first === 'agent')) return first;
  if (first === 'hub') return settleHub(readFlags(rest, { flags: HUB_FLAGS, help: '' }), {});
  if (first === 'agent') return settleAgent(readFlags(rest, { flags: AGENT_FLAGS, help: '' }), {});
  if (first === 'service') return serviceFlags(rest);
  if (first === 'bench') return settleBench(readFlags(rest, { flags: BENCH_FLAGS, help: '' }), {});
  const managing = Object.keys(MANAGE_FLAGS).find((command) => `${[first, ...rest].join(' ')} `.startsWith(`${command} `));
  if (managing !== undefined) {
    const flags = MANAGE_FLAGS[managing as keyof typeof MANAGE_FLAGS];
    return readFlags([first ?? '', ...rest].slice(managing.split(' ').length), { flags, help: '' });
  }
  return parseArguments(first === undefined ? rest : [first, ...rest]);
}

function serviceFlags([verb, ...rest]: readonly string[]): unknown {
  const kind = rest[0] === 'hub' || rest[0] === 'agent' ? rest[0] : 'tunnels';
  return readFlags(kind === 'tunnels' ? rest : rest.slice(1), { flags: grammarOf(kind, verb as Verb), help: '' });
}

/** The table's cell for a flag's default. */
function defaultCell(flag: FlagShape): string {
  if (flag.computed !== undefined) return flag.computed;
  return flag.default === null || flag.default === undefined || flag.default === '' ? '–' : `\`${flag.default}\``;
}

/** The text from a heading to the next one of its rank. */
function section(markdown: string, heading: string): string {
  return markdown.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
}

/** The cells of the rows that begin with a flag. */
function rowsOf(markdown: string): string[][] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('| `-'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** The words after `qtunnel` of each command in an indented or fenced block; comments and redirections are not theirs. */
function commandsOf(markdown: string): string[][] {
  return [...markdown.matchAll(/```sh\n(.*?)```/gs)]
    .flatMap(([, block = '']) => block.split('\n'))
    .map((line) => /^(?:[A-Z_]+=\S+ )*qtunnel (.*?)(?: &)?(?: +#.*)?$/.exec(line)?.[1])
    .filter((words) => words !== undefined)
    .map((words) => words.split(' ').filter((word) => word !== ''));
}

function linksOf(markdown: string): string[] {
  const prose = markdown.replaceAll(/```.*?```/gs, '').replaceAll(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link ?? '').filter((link) => !/^[a-z]+:/.test(link));
}

/** As GitHub makes them of headings. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** The file's text, empty for a folder; null when there is none. */
function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EISDIR' ? '' : null;
  }
}

const OTHER_FLAGS = [...BENCH_FLAGS, ...HUB_FLAGS, ...AGENT_FLAGS, ...Object.values(MANAGE_FLAGS).flat(), ...SERVICE_FLAGS];
const DOCUMENTS = [
  'README.md',
  'CHANGELOG.md',
  'bench/README.md',
  'test/reliability/README.md',
  'certs/README.md',
  'docs/deploy/README.md',
  ...[
    'ARCHITECTURE',
    'BENCH',
    'ERRORS',
    'HUB-API',
    'LIBRARY',
    'MEASURED',
    'PERFORMANCE',
    'PROTOCOL',
    'RELIABILITY',
    'SECURITY',
  ].map((name) => `docs/${name}.md`),
];
