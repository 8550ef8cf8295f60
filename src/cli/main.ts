import { writeSync } from 'node:fs';
import { type Environment, environmentLayer } from '../config/environment.ts';
import { type Layer, quote } from '../config/layer.ts';
import { type Configuration, loadConfiguration } from '../config/load.ts';
import { lookUp } from '../config/settle.ts';
import { suggestion } from '../config/suggest.ts';
import { QtunnelError } from '../errors.ts';
import { createLog } from '../observe/log.ts';
import { MANAGE_WORDS } from '../hub/manage/flags.ts';
import { serviceManager } from '../service/notify.ts';
import type { Supervised } from '../supervise/supervised.ts';
import { VERSION } from '../version.ts';
import { parseArguments } from './arguments.ts';
import { EXIT, type ExitCode, errorText, exitCodeFor } from './exit.ts';
import { refuseMisplaced } from './misplaced.ts';
import { helpText, wantsColour } from './help.ts';
import { untilStopped } from './life.ts';

/**
 * The command. QUIC's native binding and what makes certificates are imported only where they are used: a refusal and `-help` come at
 * once, and on every platform.
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
    if (words[0] === 'bench') {
      const { bench } = await import('../measure/command.ts');
      return await bench(words.slice(1), environment);
    }
    if (words[0] === 'hub' || words[0] === 'agent') {
      const { [words[0]]: command } = await import('../hub/command.ts');
      return await command(words.slice(1), environment);
    }
    if (words[0] === 'service') {
      const { service } = await import('../service/command.ts');
      return await service(words.slice(1), environment);
    }
    if (words[0] === 'completion') {
      const { completion } = await import('../completion/command.ts');
      return completion(words.slice(1));
    }
    if (MANAGE_WORDS.has(words[0] ?? '')) {
      const { manage } = await import('../hub/manage/command.ts');
      return await manage(words, environment);
    }
    refuseMisspelt(words[0] ?? '');
    return await run(words, environment, supervised);
  } catch (error) {
    printError(errorText(error, wantsDebug(words, environment)));
    return exitCodeFor(error);
  }
}

async function run(words: readonly string[], environment: Environment, supervised: Supervised | null): Promise<ExitCode> {
  const commandLine = parseArguments(words);
  if (lookUp([commandLine], 'help') === true) return print(helpText(wantsColour(process.stdout, environment)));
  if (lookUp([commandLine], 'version') === true) return print(`qtunnel ${VERSION}\n`);
  refuseMisplaced(commandLine);
  const layers = [commandLine, environmentLayer(environment, true)];
  if (lookUp(layers, 'generate-cert') === true) {
    const { generateCertificate } = await import('./generate-cert.ts');
    return print(await generateCertificate(layers));
  }
  const load = () => loadConfiguration(commandLine, environment);
  const configuration = load();
  const warnings = [...configuration.warnings, ...warningsFor(commandLine)];
  if (lookUp(layers, 'check') === true) {
    for (const warning of warnings) printError(`qtunnel: warning: ${warning}\n`);
    const { checkText } = await import('./check.ts');
    return print(await checkText(configuration));
  }
  if (supervised === null && configuration.process.supervise) {
    const { supervise } = await import('../supervise/supervise.ts');
    return await supervise(words, configuration.process, serviceManager(environment));
  }
  return await serve({ configuration, load, warnings, supervised, environment });
}

/** @throws QtunnelError `USAGE` for a word that is nearly a command's. */
function refuseMisspelt(word: string): void {
  const hint = word.startsWith('-') || word === '' ? '' : suggestion(word, COMMANDS, 'qtunnel ');
  if (hint !== '') throw new QtunnelError('USAGE', `unexpected word ${quote(word)}${hint}`);
}

interface Serving {
  readonly configuration: Configuration;
  /** Reads it again. */
  readonly load: () => Configuration;
  readonly warnings: readonly string[];
  readonly supervised: Supervised | null;
  readonly environment: Environment;
}

async function serve({ configuration, load, warnings, supervised, environment }: Serving): Promise<ExitCode> {
  const log = createLog(configuration.process);
  try {
    for (const warning of warnings) log.log.warn({ event: 'warning' }, warning);
    const { runTunnels } = await import('../tunnel/run.ts');
    const { metrics, workers, maxMemory } = configuration.process;
    const context = { log: log.log, metrics, workers, maxMemory, ...supervised?.context };
    const running = await runTunnels(configuration.tunnels, context);
    supervised?.handleReady(running);
    const signals = supervised?.signals ?? process;
    // A supervisor speaks for its children.
    const manager = supervised === null ? { manager: serviceManager(environment) } : {};
    return await untilStopped(running, { log, load, current: configuration.process, signals, ...manager });
  } catch (err) {
    // Standard error is told by main; who watches a file or syslog looks there.
    if (configuration.process.logto !== 'stderr') log.log.error({ event: 'failed', err }, 'the tunnels did not start');
    throw err;
  } finally {
    await log.close();
  }
}

function warningsFor(commandLine: Layer): string[] {
  const secret = commandLine.values.has('secret')
    ? ['-secret: other users of this machine can read it in the process list; use -secret-file or QTUNNEL_SECRET']
    : [];
  const bare =
    commandLine.values.size === 0 ? ['started without a flag: the defaults make a server in TCP mode; see qtunnel -help'] : [];
  return [...secret, ...bare];
}

/** Before the command line has been understood, and so from its words. */
function wantsDebug(words: readonly string[], { QTUNNEL_LOG_LEVEL: level }: Environment): boolean {
  const given = words.join(' ').match(/(?:^| )--?log-level[= ](\w+)/)?.[1] ?? level;
  return given === 'debug' || given === 'trace';
}

function print(text: string): ExitCode {
  process.stdout.write(text);
  return EXIT.OK;
}

/** Synchronously: the process may end right after it. */
function printError(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody reads standard error; the exit code says it too.
  }
}

const COMMANDS = ['hub', 'agent', 'service', 'bench', 'completion', ...MANAGE_WORDS];
