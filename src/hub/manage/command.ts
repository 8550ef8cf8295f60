import { readFlags } from '../../cli/arguments.ts';
import { EXIT, type ExitCode } from '../../cli/exit.ts';
import { bold, flagGroups, wantsColour } from '../../cli/help.ts';
import type { Environment } from '../../config/environment.ts';
import type { LayerValue } from '../../config/layer.ts';
import { suggestion } from '../../config/suggest.ts';
import { QtunnelError } from '../../errors.ts';
import type { HubClient } from './hub-client.ts';
import { MANAGE_FLAGS, type ManageCommand } from './flags.ts';
import { hubClientFrom } from './settings.ts';
import { TASKS } from './tasks.ts';

/**
 * `qtunnel mapping create` and the other commands that talk to a hub's API.
 * @param words the whole command line.
 * @returns 0; whatever goes wrong is thrown.
 * @throws QtunnelError `USAGE`, `CONFIG_INVALID`, `FILE_UNREADABLE`, `HUB_UNREACHABLE`, `HUB_REFUSED`, `PIN_MISMATCH`
 */
export async function manage(words: readonly string[], environment: Environment): Promise<ExitCode> {
  process.stdout.write(await outputOf(words, environment, wantsColour(process.stdout, environment)));
  return EXIT.OK;
}

/** What `manage` prints. */
export async function outputOf(words: readonly string[], environment: Environment, colour: boolean): Promise<string> {
  const [command, rest] = commandOf(words);
  if (command === null) return overview(colour);
  const flags = readFlags(rest, { flags: MANAGE_FLAGS[command], help: `qtunnel ${command} -help` });
  if (flags.get('help')?.value === true) return help(command, colour);
  const hub = await hubClientFrom(flags, environment);
  const { ask, show } = TASKS[command];
  const answer = await ask(hub, valuesOf(flags));
  return flags.get('json')?.value === true ? jsonText(answer) : shown(() => show(answer as never), hub);
}

/** Another program's answer has not what a hub's has. */
function shown(show: () => string, hub: HubClient): string {
  try {
    return show();
  } catch (error) {
    throw error instanceof QtunnelError ? error : hub.stranger('another answer');
  }
}

/** JSON leaves a terminal's second set of control characters as they are. */
function jsonText(answer: unknown): string {
  return `${JSON.stringify(answer, null, 2).replaceAll(/[\u007f-\u009f]/g, (one) => `\\u00${one.charCodeAt(0).toString(16)}`)}\n`;
}

/** The command and the words after it; null when only help is asked for. */
function commandOf(words: readonly string[]): [ManageCommand | null, readonly string[]] {
  const [first = '', second = ''] = words;
  const longest = `${first} ${second}`;
  if (longest in MANAGE_FLAGS) return [longest as ManageCommand, words.slice(2)];
  if (first in MANAGE_FLAGS) return [first as ManageCommand, words.slice(1)];
  if (/^--?h(elp)?$/.test(second)) return [null, []];
  const known = Object.keys(MANAGE_FLAGS).filter((command) => command.startsWith(`${first} `));
  const verbs = known.map((command) => command.slice(first.length + 1));
  const hint = second === '' ? '' : suggestion(second, verbs, `qtunnel ${first} `);
  throw new QtunnelError('USAGE', `qtunnel ${first}: expected ${verbs.join(', ')} after it${hint}`);
}

function valuesOf(flags: ReadonlyMap<string, LayerValue>): ReadonlyMap<string, unknown> {
  return new Map([...flags].map(([name, { value }]) => [name, value]));
}

function help(command: ManageCommand, colour: boolean): string {
  const title = `${bold(`qtunnel ${command}`, colour)}: ${TASKS[command].summary}\n`;
  return [title, ...flagGroups(MANAGE_FLAGS[command], colour), MORE].join('\n');
}

function overview(colour: boolean): string {
  const width = Math.max(...Object.keys(TASKS).map((command) => command.length));
  const lines = Object.entries(TASKS).map(([command, { summary }]) => `  qtunnel ${command.padEnd(width)}  ${summary}`);
  return `${bold("Commands that talk to a hub's API:", colour)}\n${lines.join('\n')}\n`;
}

const MORE = `Without a flag QTUNNEL_API, QTUNNEL_TOKEN and QTUNNEL_TOKEN_FILE are taken.

Exit codes: 0 done; 1 the hub is not there, or refused; 2 wrong command line.
`;
