import type { Environment } from '../config/environment.ts';
import { suggestion } from '../config/suggest.ts';
import { QtunnelError } from '../errors.ts';
import { MANAGE_WORDS } from '../hub/manage/flags.ts';
import type { Supervised } from '../supervise/supervised.ts';
import { type ExitCode, errorText, exitCodeFor, printError } from './exit.ts';
import { asksForHelp, help } from './help.ts';

/**
 * The command.
 * @param words the command line without the program's name.
 * @param supervised what a process under supervision is given; null for one that a user has started.
 * @returns the exit code; everything has been said by then.
 */
export async function main(
  words: readonly string[],
  environment: Environment,
  supervised: Supervised | null = null,
): Promise<ExitCode> {
  try {
    const command = await loaderOf(words)();
    return await command(words, environment, supervised);
  } catch (error) {
    printError(errorText(error, wantsDebug(words, environment)));
    return exitCodeFor(error);
  }
}

/** @param words the whole command line, the command's own word first. */
type Command = (words: readonly string[], environment: Environment, supervised: Supervised | null) => Promise<ExitCode> | ExitCode;

function loaderOf(words: readonly string[]): () => Promise<Command> {
  const command = COMMANDS.get(words[0] ?? '');
  if (command !== undefined) return command;
  refuseMisspelt(words[0] ?? '');
  return asksForHelp(words) ? async () => help : async () => (await import('./tunnels.ts')).tunnels;
}

/** @throws QtunnelError `USAGE` for a word that is nearly a command's. */
function refuseMisspelt(word: string): void {
  const hint = word.startsWith('-') || word === '' ? '' : suggestion(word, [...COMMANDS.keys()], 'qtunnel ');
  if (hint !== '') throw new QtunnelError('USAGE', `unexpected word ${JSON.stringify(word)}${hint}`);
}

/**
 * The commands by their first word; other command lines are for tunnels. Each loads what it needs, and only when it is the one: all of them take longer to load than most take
 * to run, and QUIC's native binding is not to be had on every platform. So no module of one command may import another's, nor this file more than it uses itself.
 */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map<string, () => Promise<Command>>([
  ['bench', async () => afterWord((await import('../measure/command.ts')).bench)],
  ['hub', async () => afterWord((await import('../hub/command.ts')).hub)],
  ['agent', async () => afterWord((await import('../hub/command.ts')).agent)],
  ['service', async () => afterWord((await import('../service/command.ts')).service)],
  ['completion', async () => afterWord((await import('../completion/command.ts')).completion)],
  ...[...MANAGE_WORDS].map((word) => [word, async () => (await import('../hub/manage/command.ts')).manage] as const),
]);

/** For a command that takes the words after its own. */
function afterWord(command: Command): Command {
  return ([, ...rest], environment, supervised) => command(rest, environment, supervised);
}

/** Before the command line has been understood, and so from its words. */
function wantsDebug(words: readonly string[], { QTUNNEL_LOG_LEVEL: level }: Environment): boolean {
  const given = words.join(' ').match(/(?:^| )--?log-level[= ](\w+)/)?.[1] ?? level;
  return given === 'debug' || given === 'trace';
}
