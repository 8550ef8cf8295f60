import { FLAGS, type FlagShape } from '../config/flags.ts';
import { AGENT_FLAGS, HUB_FLAGS } from '../hub/flags.ts';
import { MANAGE_FLAGS } from '../hub/manage/flags.ts';
import { BENCH_FLAGS } from '../measure/flags.ts';
import { grammarOf, VERBS } from '../service/flags.ts';
import { SHELLS } from './scripts.ts';

/**
 * What the last word may become.
 * @param words the command line after `qtunnel`, up to the cursor; the last is the one that is being typed, and may be empty.
 * @returns whole words, none where a file's name or free text is expected.
 */
export function candidates(words: readonly string[]): string[] {
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const found = current.startsWith('-') ? flagsAt(before, current) : commandsAt(before);
  return found.filter((word) => word.startsWith(current));
}

function commandsAt(before: readonly string[]): string[] {
  const commands = [...COMMANDS.keys()].map((command) => command.split(' ').filter((word) => word !== ''));
  const next = commands
    .filter((command) => command.length > before.length && before.every((word, index) => command[index] === word))
    .map((command) => command[before.length]!);
  return [...new Set(next)];
}

function flagsAt(before: readonly string[], current: string): string[] {
  const flags = COMMANDS.get(longestCommand(before)) ?? [];
  const [, dashes = '-', name, value] = /^(--?)([^=]*)(=.*)?$/.exec(current) ?? [];
  if (value === undefined) return flags.map((flag) => `${dashes}${flag.name}${flag.kind === 'boolean' ? '' : '='}`);
  const flag = flags.find((one) => one.name === name);
  const choices = flag?.kind === 'boolean' ? ['true', 'false'] : [...(flag?.choices ?? []), ...(flag?.words ?? [])];
  return choices.map((choice) => `${dashes}${name}=${choice}`);
}

function longestCommand(before: readonly string[]): string {
  const lengths = [3, 2, 1].filter((length) => length <= before.length);
  return lengths.map((length) => before.slice(0, length).join(' ')).find((command) => COMMANDS.has(command)) ?? '';
}

/** The flags after each command; that of tunnels has no word. */
const COMMANDS: ReadonlyMap<string, readonly FlagShape[]> = new Map([
  ['', FLAGS],
  ['hub', HUB_FLAGS],
  ['agent', AGENT_FLAGS],
  ['bench', BENCH_FLAGS],
  ...Object.entries(MANAGE_FLAGS),
  ...VERBS.flatMap((verb): [string, readonly FlagShape[]][] => [
    [`service ${verb}`, grammarOf('tunnels', verb)],
    [`service ${verb} hub`, grammarOf('hub', verb)],
    [`service ${verb} agent`, grammarOf('agent', verb)],
  ]),
  ...SHELLS.map((shell): [string, readonly FlagShape[]] => [`completion ${shell}`, []]),
]);
