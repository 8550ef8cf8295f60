import { readFlags } from '../cli/arguments.ts';
import { EXIT, type ExitCode } from '../cli/exit.ts';
import { wantsColour } from '../cli/help.ts';
import type { Environment } from '../config/environment.ts';
import { suggestion } from '../config/suggest.ts';
import { QtunnelError } from '../errors.ts';
import { grammarOf, type Kind, type ManagerName, MANAGER_NAMES, type Verb, VERBS } from './flags.ts';
import { serviceHelp } from './help.ts';
import { launchd } from './launchd.ts';
import type { Manager } from './manager.ts';
import { type Plan, planService, unitName } from './plan.ts';
import { systemd } from './systemd.ts';
import { windows } from './windows.ts';

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
  if (verb === 'uninstall') return print(await ownManager().uninstall(unitName(kind, name)));
  if (verb === 'status') return printStatus(unitName(kind, name));
  const isDryRun = given.get('dry-run')?.value === true;
  const manager = managerNamed(given.get('manager')?.value as ManagerName | undefined, isDryRun);
  const own = new Map([...given].filter(([flag]) => !NOT_PASSED_ON.has(flag) && (flag !== 'name' || kind === 'agent')));
  const plan = await planService(kind, name, own, environment, manager.home);
  for (const warning of plan.warnings) warn(warning);
  return isDryRun ? dryRun(manager, plan) : print(await manager.install(plan));
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

function managerNamed(name: ManagerName | undefined, isDryRun: boolean): Manager {
  if (name === undefined) return ownManager();
  const manager = MANAGERS[name]();
  if (manager.platform !== process.platform && !isDryRun) {
    throw new QtunnelError(
      'USAGE',
      `-manager=${name}: ${name} does not run services on this platform; -dry-run prints what it would be given`,
    );
  }
  return manager;
}

/** @throws QtunnelError `SERVICE_FAILED` where there is none. */
function ownManager(): Manager {
  const manager = MANAGER_NAMES.map((name) => MANAGERS[name]()).find(({ platform }) => platform === process.platform);
  if (manager !== undefined) return manager;
  throw new QtunnelError(
    'SERVICE_FAILED',
    `qtunnel does not know the service manager of ${process.platform}: -manager=${MANAGER_NAMES.join('|')} with -dry-run prints what others are given`,
  );
}

/** The file goes to standard output and nothing else does. */
function dryRun(manager: Manager, plan: Plan): ExitCode {
  const { folder, file, text, commands } = manager.job(plan);
  if (manager.platform === process.platform) for (const obstacle of manager.obstacles(plan)) warn(obstacle);
  const quote = manager.platform === 'win32' ? forWindows : forShell;
  const lines = commands.map((words) => `  ${words.map(quote).join(' ')}\n`);
  const making = folder === undefined ? '' : `make the folder ${folder}, `;
  process.stderr.write(`qtunnel: would ${making}write this into ${file}, and run\n${lines.join('')}`);
  return print(text);
}

function forShell(word: string): string {
  return /^[\w./:=@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** For cmd and PowerShell; no word of these commands has a quotation mark. */
function forWindows(word: string): string {
  return /^[\w./:\\-]+$/.test(word) ? word : `"${word}"`;
}

function printStatus(unit: string): ExitCode {
  const { text, runs } = ownManager().status(unit);
  process.stdout.write(text);
  return runs ? EXIT.OK : EXIT.FAILED;
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

const MANAGERS: Readonly<Record<ManagerName, () => Manager>> = { systemd: () => systemd, launchd, windows };
const NOT_PASSED_ON: ReadonlySet<string> = new Set(['dry-run', 'manager']);
