import yargs from 'yargs';
import { type FlagName, type FlagShape, FLAGS } from '../config/flags.ts';
import { type Layer, type LayerValue, quote, readValue } from '../config/layer.ts';
import { suggestion } from '../config/suggest.ts';
import { QtunnelError } from '../errors.ts';
import { asksForHelp } from './help.ts';

/** What a command line may say. */
export interface Grammar {
  readonly flags: readonly FlagShape[];
  /** The command that tells it: `qtunnel -help`. */
  readonly help: string;
}

/**
 * Reads the command line of `qtunnel` itself.
 * @param words without the program's name.
 * @throws QtunnelError `USAGE`: one sentence that names the flag.
 */
export function parseArguments(words: readonly string[]): Layer {
  const values = readFlags(words, { flags: FLAGS, help: 'qtunnel -help' });
  return { shared: false, values: values as ReadonlyMap<FlagName, LayerValue> };
}

/**
 * Reads flags written as for Go's flag package: one dash or two, `-flag=value` or `-flag value`, and booleans that never take the word after
 * them. When the words ask for help, that is all there is.
 * @throws QtunnelError `USAGE`: one sentence that names the flag.
 */
export function readFlags(words: readonly string[], { flags, help }: Grammar): Map<string, LayerValue> {
  if (asksForHelp(words)) return new Map([['help', { where: '-help', value: true }]]);
  const known = new Map(flags.map((flag) => [flag.name, flag]));
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
    .string([...known.keys()])
    .parseSync(withEqualsSigns(words, known));
  const values = new Map<string, LayerValue>();
  for (const [name, texts] of Object.entries(found)) {
    const flag = known.get(name);
    if (flag === undefined) throw unknownFlag(name, known, help);
    values.set(name, valueOf(flag, [texts].flat().map(String)));
  }
  refuseStrays(strays.map(String), words, known, help);
  return values;
}

/**
 * Every flag as `--name="value"`, so that nothing is left to guess: yargs would take `false` in `-quic false` for its value, and takes
 * one pair of quotes off a value, which had better not be a secret's own.
 */
function withEqualsSigns(words: readonly string[], known: Known): string[] {
  const result: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? '';
    if (word === '--') return [...result, ...words.slice(index)];
    const [, name, value] = FLAG.exec(word) ?? [];
    const flag = known.get(name ?? '');
    if (name === undefined) result.push(word);
    else if (value !== undefined) result.push(`--${name}="${value}"`);
    else if (flag === undefined) result.push(`--${name}`);
    else result.push(`--${name}="${flag.kind === 'boolean' ? 'true' : valueAfter(flag, words[++index], known)}"`);
  }
  return result;
}

function valueAfter(flag: FlagShape, word: string | undefined, known: Known): string {
  if (word === undefined) throw usage(`-${flag.name} needs a value, as in -${flag.name}=${exampleFor(flag)}`);
  const [, name] = FLAG.exec(word) ?? [];
  if (name === undefined || !known.has(name)) return word;
  throw usage(`-${flag.name} needs a value, and the next word is the flag -${name}: write -${flag.name}=${exampleFor(flag)}`);
}

function valueOf(flag: FlagShape, texts: readonly string[]): LayerValue {
  const where = `-${flag.name}`;
  if (flag.kind === 'list' || flag.kind === 'backends')
    return { where, value: texts.flatMap((text) => readValue(flag, text, where, 'USAGE').value as unknown[]) };
  const [text = '', ...more] = texts;
  if (more.length > 0) throw usage(`${where} is given ${more.length === 1 ? 'twice' : `${texts.length} times`}: give it once`);
  if (text === '' && flag.kind !== 'boolean') throw usage(`${where} is empty: give it a value, or leave it out`);
  return readValue(flag, text, where, 'USAGE');
}

function refuseStrays(strays: readonly string[], words: readonly string[], known: Known, help: string): void {
  const [stray] = strays;
  if (stray === undefined) return;
  const before = words[words.indexOf(stray) - 1] ?? '';
  const flag = known.get(FLAG.exec(before)?.[1] ?? '');
  if (flag?.kind === 'boolean' && /^(true|false|yes|no|on|off|0|1)$/i.test(stray)) {
    throw usage(
      `unexpected word ${quote(stray)}: -${flag.name} takes its value after an equals sign, -${flag.name}=true or -${flag.name}=false`,
    );
  }
  const name = stray.split('=', 1)[0] ?? '';
  const hint = known.has(name) ? `did you mean -${stray}?` : `flags begin with a dash, see ${help}`;
  throw usage(`unexpected word ${quote(stray)}: ${hint}`);
}

function unknownFlag(name: string, known: Known, help: string): QtunnelError {
  const hint = suggestion(name, [...known.keys()]);
  return usage(`unknown flag -${name}${hint === '' ? `; see ${help}` : hint}`);
}

function exampleFor({ kind }: FlagShape): string {
  return EXAMPLES[kind];
}

function usage(message: string): QtunnelError {
  return new QtunnelError('USAGE', message);
}

type Known = ReadonlyMap<string, FlagShape>;

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
  backends: 'HOST:PORT',
  name: 'NAME',
  clients: 'FILE',
  duration: '5s',
  size: '4M',
  integer: '100',
  rate: '100Mbit',
  enum: 'WORD',
  fingerprint: 'FINGERPRINT',
  fingerprints: 'FINGERPRINT',
  fec: '10:1',
  list: 'A,B',
  ports: '10000-10010',
} as const;
