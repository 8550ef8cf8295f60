import { readFlags } from '../cli/arguments.ts';
import { EXIT, type ExitCode } from '../cli/exit.ts';
import { wantsColour } from '../cli/help.ts';
import { untilStopped } from '../cli/life.ts';
import type { Environment } from '../config/environment.ts';
import type { FlagShape } from '../config/flags.ts';
import type { LayerValue } from '../config/layer.ts';
import { createLog } from '../observe/log.ts';
import { serviceManager } from '../service/notify.ts';
import type { Running } from '../tunnel/run.ts';
import { AGENT_FLAGS, HUB_FLAGS } from './flags.ts';
import { agentHelp, hubHelp } from './help.ts';
import type { RunContext } from './run.ts';
import { type Settled, settleAgent, settleHub } from './settings.ts';

/**
 * `qtunnel hub` and `qtunnel agent`.
 * @param words the command line after the command.
 * @returns the exit code when a signal or a failure has ended it.
 * @throws QtunnelError `USAGE`, `CONFIG_INVALID`, and what keeps it from beginning.
 */
export function hub(words: readonly string[], environment: Environment): Promise<ExitCode> {
  return command(words, environment, {
    flags: HUB_FLAGS,
    name: 'hub',
    help: hubHelp,
    settle: settleHub,
    run: async (...given) => (await import('./run.ts')).runHub(...given),
  });
}

export function agent(words: readonly string[], environment: Environment): Promise<ExitCode> {
  return command(words, environment, {
    flags: AGENT_FLAGS,
    name: 'agent',
    help: agentHelp,
    settle: settleAgent,
    run: async (...given) => (await import('./run.ts')).runAgent(...given),
  });
}

interface Command<Settings> {
  readonly name: string;
  readonly flags: readonly FlagShape[];
  readonly help: (colour: boolean) => string;
  readonly settle: (words: ReadonlyMap<string, LayerValue>, environment: Environment) => Settled<Settings>;
  readonly run: (settings: Settings, context: RunContext) => Promise<Running<Settings>>;
}

async function command<Settings>(
  words: readonly string[],
  environment: Environment,
  { name, flags, help, settle, run }: Command<Settings>,
): Promise<ExitCode> {
  const given = readFlags(words, { flags, help: `qtunnel ${name} -help` });
  if (given.get('help')?.value === true) {
    process.stdout.write(help(wantsColour(process.stdout, environment)));
    return EXIT.OK;
  }
  const load = () => settle(given, environment);
  const { tunnels, process: ofProcess, warnings } = load();
  const log = await createLog(ofProcess);
  try {
    for (const warning of warnings) log.log.warn({ event: 'warning' }, warning);
    const running = await run(tunnels[0], { log: log.log, metrics: ofProcess.metrics, maxMemory: ofProcess.maxMemory });
    return await untilStopped(running, { log, load, current: ofProcess, signals: process, manager: serviceManager(environment) });
  } catch (err) {
    // Standard error is told by main; who watches a file or syslog looks there.
    if (ofProcess.logto !== 'stderr') log.log.error({ event: 'failed', err }, `the ${name} did not start`);
    throw err;
  } finally {
    await log.close();
  }
}
