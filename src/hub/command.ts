import { readFlags } from '../cli/arguments.ts';
import { EXIT, type ExitCode } from '../cli/exit.ts';
import { wantsColour } from '../cli/help.ts';
import { untilStopped } from '../cli/life.ts';
import { type Environment, environmentLayer } from '../config/environment.ts';
import type { FlagName, FlagShape } from '../config/flags.ts';
import type { LayerValue } from '../config/layer.ts';
import { lookUp } from '../config/settle.ts';
import { QtunnelError } from '../errors.ts';
import { createLog } from '../observe/log.ts';
import { serviceManager } from '../service/notify.ts';
import type { Supervised } from '../supervise/supervised.ts';
import { AGENT_FLAGS, HUB_FLAGS } from './flags.ts';
import { agentHelp, hubHelp } from './help.ts';
import type { RunContext, RunningSide } from './run.ts';
import { type AgentSettings, type HubSettings, type Settled, settleAgent, settleHub } from './settings.ts';

/**
 * `qtunnel hub` and `qtunnel agent`.
 * @param words the command line after the command.
 * @param supervised what a process under supervision is given; null for one that a user has started.
 * @returns the exit code when a signal or a failure has ended it.
 * @throws QtunnelError `USAGE`, `CONFIG_INVALID`, and what keeps it from beginning.
 */
export function hub(words: readonly string[], environment: Environment, supervised: Supervised | null = null): Promise<ExitCode> {
  return command(words, { environment, supervised }, HUB);
}

/** As `hub`. */
export function agent(words: readonly string[], environment: Environment, supervised: Supervised | null = null): Promise<ExitCode> {
  return command(words, { environment, supervised }, AGENT);
}

interface Command<Settings> {
  readonly name: 'hub' | 'agent';
  readonly flags: readonly FlagShape[];
  readonly help: (colour: boolean) => string;
  readonly settle: (words: ReadonlyMap<string, LayerValue>, environment: Environment) => Settled<Settings>;
  readonly check: (settled: Settled<Settings>) => Promise<string>;
  readonly run: (settings: Settings, context: RunContext) => Promise<RunningSide<Settings>>;
  /** Why it has no `-workers`. */
  readonly oneThread: string;
}

interface Around {
  readonly environment: Environment;
  readonly supervised: Supervised | null;
}

async function command<Settings>(
  words: readonly string[],
  { environment, supervised }: Around,
  { name, flags, help, settle, check, run, oneThread }: Command<Settings>,
): Promise<ExitCode> {
  if (words.some((word) => /^--?workers(=|$)/.test(word)))
    throw new QtunnelError('USAGE', `-workers is not for qtunnel ${name}, which works on one thread: ${oneThread}`);
  const given = readFlags(words, { flags, help: `qtunnel ${name} -help` });
  if (given.get('help')?.value === true) {
    process.stdout.write(help(wantsColour(process.stdout, environment)));
    return EXIT.OK;
  }
  const load = () => settle(given, environment);
  const settled = load();
  const { tunnels, process: ofProcess, warnings } = settled;
  const layers = [{ shared: false, values: given as ReadonlyMap<FlagName, LayerValue> }, environmentLayer(environment, true)];
  if (lookUp(layers, 'check') === true) {
    process.stderr.write(warnings.map((warning) => `qtunnel: warning: ${warning}\n`).join(''));
    process.stdout.write(await check(settled));
    return EXIT.OK;
  }
  if (supervised === null && ofProcess.supervise) {
    const { supervise } = await import('../supervise/supervise.ts');
    return await supervise([name, ...words], ofProcess, serviceManager(environment));
  }
  const log = await createLog(ofProcess);
  try {
    for (const warning of warnings) log.log.warn({ event: 'warning' }, warning);
    const { metrics, maxMemory } = ofProcess;
    const running = await run(tunnels[0], { log: log.log, metrics, maxMemory, ...supervised?.context });
    supervised?.handleReady(running);
    const signals = supervised?.signals ?? process;
    // A supervisor speaks for its children.
    const manager = supervised === null ? { manager: serviceManager(environment) } : {};
    return await untilStopped(running, { log, load, current: ofProcess, signals, ...manager });
  } catch (err) {
    // Standard error is told by main; who watches a file or syslog looks there.
    if (ofProcess.logto !== 'stderr') log.log.error({ event: 'failed', err }, `the ${name} did not start`);
    throw err;
  } finally {
    await log.close();
  }
}

const HUB: Command<HubSettings> = {
  name: 'hub',
  flags: HUB_FLAGS,
  help: hubHelp,
  settle: settleHub,
  check: async (settled) => (await import('./check.ts')).checkHub(settled),
  run: async (...given) => (await import('./run.ts')).runHub(...given),
  oneThread: 'several hubs may share a database in PostgreSQL; leave it out',
};
const AGENT: Command<AgentSettings> = {
  name: 'agent',
  flags: AGENT_FLAGS,
  help: agentHelp,
  settle: settleAgent,
  check: async (settled) => (await import('./check.ts')).checkAgent(settled),
  run: async (...given) => (await import('./run.ts')).runAgent(...given),
  oneThread: 'several agents, each with a -name of its own, share the connections of mappings that name none; leave it out',
};
