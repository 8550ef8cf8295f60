import { readFlags } from '../cli/arguments.ts';
import { EXIT, type ExitCode } from '../cli/exit.ts';
import { wantsColour } from '../cli/help.ts';
import type { Environment } from '../config/environment.ts';
import { suggestion } from '../config/suggest.ts';
import { QtunnelError } from '../errors.ts';
import { instructions } from './elsewhere.ts';
import { grammarOf, type Kind, type Verb, VERBS } from './flags.ts';
import { serviceHelp } from './help.ts';
import { type Plan, planService, unitName } from './plan.ts';
import { install, obstacles, status, uninstall, unitText } from './systemd.ts';

/**
 * `qtunnel service install|uninstall|status [hub|agent] [-name=NAME] FLAGS…`.
 * @param words the command line after `service`.
 * @returns 0; of `status` 1 when the service does not run.
 * @throws QtunnelError `USAGE`, `CONFIG_INVALID`, `SERVICE_FAILED`, `FILE_UNREADABLE`, `FILE_EXISTS`
 */
export async function service(words: readonly string[], environment: Environment): Promise<ExitCode> {
  if (words.length === 0 || /^--?h(elp)?$/.test(words[0] ?? '')) return printHelp(environment);
  const [verb, kind, rest] = headOf(words);
  const given = readFlags(rest, { flags: grammarOf(kind, verb), help: 'qtunnel service -help' });
  if (given.get('help')?.value === true) return printHelp(environment);
  const name = (given.get('name')?.value as string | undefined) ?? null;
  if (verb === 'uninstall') return print(uninstall(unitName(kind, name)));
  if (verb === 'status') return printStatus(unitName(kind, name));
  const own = new Map([...given].filter(([flag]) => flag !== 'dry-run' && (flag !== 'name' || kind === 'agent')));
  const plan = await planService(kind, name, own, environment);
  for (const warning of plan.warnings) warn(warning);
  if (process.platform !== 'linux') return printInstructions(plan);
  return given.get('dry-run')?.value === true ? dryRun(plan) : print(await install(plan));
}

/** The verb, what kind of service, and the words after them. */
function headOf([first = '', second = '', ...others]: readonly string[]): [Verb, Kind, readonly string[]] {
  const verb = VERBS.find((one) => one === first);
  if (verb === undefined) {
    throw new QtunnelError(
      'USAGE',
      `qtunnel service: expected ${VERBS.join(', ')} after it${suggestion(first, VERBS, 'qtunnel service ')}`,
    );
  }
  if (second === 'hub' || second === 'agent') return [verb, second, others];
  return [verb, 'tunnels', second === '' ? [] : [second, ...others]];
}

/** The unit goes to standard output and nothing else does. */
function dryRun(plan: Plan): ExitCode {
  for (const obstacle of obstacles(plan)) warn(obstacle);
  return print(unitText(plan));
}

function printStatus(unit: string): ExitCode {
  const { text, runs } = status(unit);
  process.stdout.write(text);
  return runs ? EXIT.OK : EXIT.FAILED;
}

function printInstructions(plan: Plan): ExitCode {
  process.stdout.write(instructions(process.platform, plan, process.execPath, process.argv[1] ?? 'qtunnel'));
  return EXIT.FAILED;
}

function printHelp(environment: Environment): ExitCode {
  return print(serviceHelp(wantsColour(process.stdout, environment)));
}

function print(text: string): ExitCode {
  process.stdout.write(text);
  return EXIT.OK;
}

function warn(text: string): void {
  process.stderr.write(`qtunnel: warning: ${text}\n`);
}
