import { availableParallelism } from 'node:os';
import { isatty } from 'node:tty';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { isForOtherRole, otherRole } from './contradictions.ts';
import { type Environment, environmentLayer, misspelt } from './environment.ts';
import type { readTunnelsFile, TunnelsFile } from './file.ts';
import { type Layer } from './layer.ts';
import { lookUp, settleProcess, settleTunnel } from './settle.ts';
import type { ProcessSettings, TunnelSettings } from './settings.ts';

export interface Configuration {
  /** At least one. */
  readonly tunnels: readonly TunnelSettings[];
  readonly process: ProcessSettings;
  /** Sentences for the log. */
  readonly warnings: readonly string[];
}

/**
 * The whole configuration: command line over environment over file over defaults. Reads the `-conf` file and nothing else. What reads
 * it takes longer to load than all the rest, and most processes have no file.
 * @throws QtunnelError `USAGE` or `CONFIG_INVALID` for what the user has to correct, `FILE_UNREADABLE`.
 */
export async function loadConfiguration(commandLine: Layer, environment: Environment): Promise<Configuration> {
  const hasFile = fileOf(commandLine, environment) !== undefined;
  const read = hasFile ? (await import('./file.ts')).readTunnelsFile : null;
  return settleConfiguration(commandLine, environment, read);
}

/** As `loadConfiguration`; `read` may be null where no file is named. */
export function settleConfiguration(
  commandLine: Layer,
  environment: Environment,
  read: typeof readTunnelsFile | null,
): Configuration {
  const conf = fileOf(commandLine, environment);
  const given = [{ ...commandLine, shared: conf !== undefined }, environmentLayer(environment, conf !== undefined)];
  const warnings = misspelt(environment);
  if (conf === undefined) {
    refuseTagWithoutFile(given);
    const ofProcess = settleProcess(given, onTerminal);
    const tunnels = [settleTunnel('default', given, environment)];
    return { tunnels, process: ofProcess, warnings: [...warnings, ...tooManyWorkers(ofProcess)] };
  }
  const file = read!(conf);
  const tags = pick(file, lookUp(given, 'tag') ?? [], conf);
  const tunnels = tags.map(([tag, layer]) => settleTunnel(tag, [...given, layer, file.defaults], environment));
  refuseUselessFlags(commandLine, tunnels);
  refuseSameListener(tunnels, file);
  const ofProcess = settleProcess([...given, file.process], onTerminal);
  return { tunnels, process: ofProcess, warnings: [...warnings, ...tooManyWorkers(ofProcess)] };
}

function fileOf(commandLine: Layer, environment: Environment): string | undefined {
  return lookUp([commandLine, environmentLayer(environment, false)], 'conf');
}

function refuseTagWithoutFile(layers: readonly Layer[]): void {
  const where = layers.map(({ values }) => values.get('tag')?.where).find((found) => found !== undefined);
  if (where !== undefined) throw new QtunnelError('USAGE', `${where} picks tunnels of a file: add -conf=FILE, or leave it out`);
}

function pick(file: TunnelsFile, wanted: readonly string[], name: string): [string, Layer][] {
  const unknown = wanted.find((tag) => !file.tunnels.has(tag));
  if (unknown !== undefined) {
    const there = [...file.tunnels.keys()].join(', ');
    throw new QtunnelError('USAGE', `-tag: there is no tunnel "${unknown}" in ${name}; it has ${there}`);
  }
  return [...file.tunnels].filter(([tag]) => wanted.length === 0 || wanted.includes(tag));
}

/** A flag on the command line is meant for every tunnel it fits; one that fits none is a mistake. */
function refuseUselessFlags(commandLine: Layer, tunnels: readonly TunnelSettings[]): void {
  for (const [name, { where, value }] of commandLine.values) {
    if (value === false || !tunnels.every(({ clientmode }) => isForOtherRole(name, clientmode))) continue;
    throw otherRole(name, where, tunnels[0]?.clientmode ?? false);
  }
}

function refuseSameListener(tunnels: readonly TunnelSettings[], file: TunnelsFile): void {
  const seen = new Map<string, string>();
  for (const { tag, listen } of tunnels) {
    const address = formatAddress(listen);
    const other = seen.get(address);
    if (other !== undefined && listen.port !== 0) {
      const places = `${other} (${file.where(other)}) and ${tag} (${file.where(tag)})`;
      throw new QtunnelError('CONFIG_INVALID', `the tunnels ${places} both listen on ${address}: give each its own`);
    }
    seen.set(address, tag);
  }
}

function tooManyWorkers({ workers }: ProcessSettings): string[] {
  const cores = availableParallelism();
  const given = `-workers=${workers}: this process may use ${cores} ${cores === 1 ? 'core' : 'cores'}`;
  return workers > 1 && workers > cores ? [`${given}; more workers than that take turns`] : [];
}

export function onTerminal(logto: string): boolean {
  return (logto === 'stdout' && isatty(1)) || (logto === 'stderr' && isatty(2));
}
