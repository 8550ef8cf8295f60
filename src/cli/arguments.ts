import yargs from 'yargs';
import { findFlag, type Flag, FLAGS } from '../config/flags.ts';
import { type Layer, type LayerValue, quote, readValue } from '../config/layer.ts';
import { suggestion } from '../config/suggest.ts';
import type { FlagName } from '../config/flags.ts';
import { QtunnelError } from '../errors.ts';

/**
 * Reads a command line written as for Go's flag package: one dash or two, `-flag=value` or `-flag value`, and booleans that never take
 * the word after them.
 * @param words without the program's name.
 * @throws QtunnelError `USAGE`: one sentence that names the flag.
 */
export function parseArguments(words: readonly string[]): Layer {
  if (asksForHelp(words)) return { shared: false, values: new Map([['help', { where: '-help', value: true }]]) };
  const {
    _: strays,
    $0: _program,
    ...found
  } = yargs()
    .help(false)
    .version(false)
    .detectLocale(false)
    .exitProcess(false)
    .parserConfiguration(PLAIN)
    .string(FLAGS.map(({ name }) => name))
    .parseSync(withEqualsSigns(words));
  const values = new Map<FlagName, LayerValue>();
  for (const [name, texts] of Object.entries(found)) {
    const flag = findFlag(name);
    if (flag === undefined) throw unknownFlag(name);
    values.set(flag.name, valueOf(flag, [texts].flat().map(String)));
  }
  refuseStrays(strays.map(String), words);
  return { shared: false, values };
}

function asksForHelp(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return words.slice(0, end === -1 ? undefined : end).some((word) => /^--?(h|help)$/.test(word));
}

/**
 * Every flag as `--name="value"`, so that nothing is left to guess: yargs would take `false` in `-quic false` for its value, and takes
 * one pair of quotes off a value, which had better not be a secret's own.
 */
function withEqualsSigns(words: readonly string[]): string[] {
  const result: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? '';
    if (word === '--') return [...result, ...words.slice(index)];
    const [, name, value] = FLAG.exec(word) ?? [];
    const flag = findFlag(name ?? '');
    if (name === undefined) result.push(word);
    else if (value !== undefined) result.push(`--${name}="${value}"`);
    else if (flag === undefined) result.push(`--${name}`);
    else result.push(`--${name}="${flag.kind === 'boolean' ? 'true' : valueAfter(flag, words[++index])}"`);
  }
  return result;
}

function valueAfter(flag: Flag, word: string | undefined): string {
  if (word === undefined) throw usage(`-${flag.name} needs a value, as in -${flag.name}=${exampleFor(flag)}`);
  const [, name] = FLAG.exec(word) ?? [];
  if (name === undefined || findFlag(name) === undefined) return word;
  throw usage(`-${flag.name} needs a value, and the next word is the flag -${name}: write -${flag.name}=${exampleFor(flag)}`);
}

function valueOf(flag: Flag, texts: readonly string[]): LayerValue {
  const where = `-${flag.name}`;
  if (flag.kind === 'list')
    return { where, value: texts.flatMap((text) => readValue(flag, text, where, 'USAGE').value as string[]) };
  const [text = '', ...more] = texts;
  if (more.length > 0) throw usage(`${where} is given ${more.length === 1 ? 'twice' : `${texts.length} times`}: give it once`);
  if (text === '' && flag.kind !== 'boolean') throw usage(`${where} is empty: give it a value, or leave it out`);
  return readValue(flag, text, where, 'USAGE');
}

function refuseStrays(strays: readonly string[], words: readonly string[]): void {
  const [stray] = strays;
  if (stray === undefined) return;
  const before = words[words.indexOf(stray) - 1] ?? '';
  const flag = findFlag(FLAG.exec(before)?.[1] ?? '');
  if (flag?.kind === 'boolean' && /^(true|false|yes|no|on|off|0|1)$/i.test(stray)) {
    throw usage(
      `unexpected word ${quote(stray)}: -${flag.name} takes its value after an equals sign, -${flag.name}=true or -${flag.name}=false`,
    );
  }
  const name = stray.split('=', 1)[0] ?? '';
  const hint = findFlag(name) === undefined ? 'flags begin with a dash, see qtunnel -help' : `did you mean -${stray}?`;
  throw usage(`unexpected word ${quote(stray)}: ${hint}`);
}

function unknownFlag(name: string): QtunnelError {
  const hint = suggestion(
    name,
    FLAGS.map((flag) => flag.name),
  );
  return usage(`unknown flag -${name}${hint === '' ? '; see qtunnel -help' : hint}`);
}

function exampleFor({ kind }: Flag): string {
  return EXAMPLES[kind];
}

function usage(message: string): QtunnelError {
  return new QtunnelError('USAGE', message);
}

/** A dash or two and a name; a lone dash and negative numbers are none. */
const FLAG = /^--?([A-Za-z_][^=]*)(?:=([\s\S]*))?$/;

/** Everything off that makes yargs guess. */
const PLAIN = {
  'boolean-negation': false,
  'camel-case-expansion': false,
  'dot-notation': false,
  'duplicate-arguments-array': true,
  'flatten-duplicate-arrays': true,
  'greedy-arrays': false,
  'parse-numbers': false,
  'parse-positional-numbers': false,
  'short-option-groups': false,
  'strip-aliased': true,
} as const;

const EXAMPLES = {
  boolean: 'true',
  string: 'TEXT',
  path: 'FILE',
  address: 'HOST:PORT',
  duration: '5s',
  size: '4M',
  integer: '100',
  enum: 'WORD',
  fingerprint: 'FINGERPRINT',
  list: 'A,B',
} as const;
