import path from 'node:path';
import { readClientsFile } from '../config/clients.ts';
import { environmentName, FLAGS, type FlagName, type FlagShape } from '../config/flags.ts';
import type { Environment } from '../config/environment.ts';
import type { LayerValue } from '../config/layer.ts';
import { loadConfiguration } from '../config/load.ts';
import type { ProcessSettings, TunnelSettings } from '../config/settings.ts';
import { formatValue } from '../config/values.ts';
import { QtunnelError } from '../errors.ts';
import { settleAgent, settleHub } from '../hub/settings.ts';
import { hasPassword, isUrl } from '../hub/store/database-url.ts';
import { flagsOfKind, type Kind } from './flags.ts';

/** A service to be installed. */
export interface Plan {
  readonly kind: Kind;
  /** What the service manager calls it: of a systemd unit, without `.service`. */
  readonly unit: string;
  /** The folder for what it has to remember. */
  readonly state: string;
  /** The command line after `qtunnel`, with absolute paths and no secret. */
  readonly words: readonly string[];
  /** Files that it reads, now and at each reload. */
  readonly reads: readonly string[];
  /** Folders besides its own state that it writes in. */
  readonly writes: readonly string[];
  /** Whether it listens on a port that only root may, or who has CAP_NET_BIND_SERVICE. */
  readonly lowPorts: boolean;
  /** The longest that it takes to end, in milliseconds. */
  readonly drainTimeout: number;
  readonly maxConnections: number;
  /** Sentences for the user. */
  readonly warnings: readonly string[];
}

/** Where the services of a manager keep what they remember. */
export interface Home {
  folder(unit: string): string;
  /** How a service learns of it: `STATE_DIRECTORY` in its environment, or by its flags where a manager gives no environment; then its log goes to a file there as well. */
  readonly toldBy: 'environment' | 'flags';
}

/** systemd's (StateDirectory). */
export const VAR_LIB: Home = { folder: (unit) => `/var/lib/${unit}`, toldBy: 'environment' };

type Given = ReadonlyMap<string, LayerValue>;

/**
 * What a service with these flags needs. Reads the files that say so.
 * @param given the flags without the service's own.
 * @param environment of who installs; the service does not have it.
 * @throws QtunnelError `USAGE`, `CONFIG_INVALID`, `FILE_UNREADABLE`: what the command itself would refuse, and a secret on the command line.
 */
export async function planService(
  kind: Kind,
  name: string | null,
  given: Given,
  environment: Environment,
  home: Home = VAR_LIB,
): Promise<Plan> {
  const unit = unitName(kind, name);
  const state = home.folder(unit);
  const told = home.toldBy === 'environment' ? state : UNSETTLED;
  refuseSecrets(kind, given);
  const absolute = new Map([...given].map(([flag, value]) => [flag, withAbsolutePath(flagOf(kind, flag), value)]));
  const { tunnels, ofProcess, ports, files, database } = await settle(kind, absolute, { STATE_DIRECTORY: told });
  const conf = absolute.get('conf')?.value as string | undefined;
  const read = [...(conf === undefined ? [] : [conf]), ...(await Promise.all(tunnels.map(filesOf))).flat(), ...files];
  const folders = [
    ...tunnels.flatMap(({ stateDir, knownHosts }) => [stateDir, path.dirname(knownHosts)]),
    ...(ofProcess.logto.includes('/') ? [path.dirname(ofProcess.logto)] : []),
    ...(database === null || isUrl(database) ? [] : [path.dirname(database)]),
  ];
  return {
    kind,
    unit,
    state,
    words: [
      ...(kind === 'tunnels' ? [] : [kind]),
      ...supervised(absolute),
      ...wordsOf(kind, absolute),
      ...(home.toldBy === 'flags' ? homeFlags(unit, state, tunnels, ofProcess) : []),
    ],
    reads: unique(read.map((file) => path.resolve(file))),
    writes: unique(folders.map((folder) => path.resolve(folder))).filter((folder) => !isWithin(told, folder)),
    lowPorts: [...ports, ofProcess.metrics?.port ?? 0].some((port) => port > 0 && port < FIRST_FREE_PORT),
    drainTimeout: Math.max(...tunnels.map(({ drainTimeout }) => drainTimeout)),
    maxConnections: tunnels.reduce((sum, { maxConnections }) => sum + maxConnections, 0),
    warnings: unseen(environment),
  };
}

/** `qtunnel`, `qtunnel-NAME`, `qtunnel-hub`, `qtunnel-hub-NAME`. @throws QtunnelError `USAGE` for a name that would be another kind's. */
export function unitName(kind: Kind, name: string | null): string {
  if (kind === 'tunnels' && name !== null && /^(hub|agent)(-|$)/.test(name)) {
    throw new QtunnelError('USAGE', `-name=${name} would be the service of qtunnel ${name.split('-', 1)[0]}: give it another name`);
  }
  return ['qtunnel', ...(kind === 'tunnels' ? [] : [kind]), ...(name === null ? [] : [name])].join('-');
}

export function isWithin(folder: string, file: string): boolean {
  return file === folder || file.startsWith(folder === '/' ? folder : `${folder}/`);
}

function refuseSecrets(kind: Kind, given: Given): void {
  for (const [name, { where, value }] of given) {
    const isSecret = flagOf(kind, name).secret === true && (name !== 'database' || hasPassword(String(value)));
    if (!isSecret) continue;
    const instead = name === 'secret' ? 'use -secret-file' : `write it into a file for -conf, as ${name}`;
    throw new QtunnelError('USAGE', `${where}: other users of this machine can read a service's command line; ${instead}`);
  }
}

interface Settled {
  readonly tunnels: readonly TunnelSettings[];
  readonly ofProcess: ProcessSettings;
  /** That it listens on, besides that of its metrics. */
  readonly ports: readonly number[];
  readonly files: readonly string[];
  readonly database: string | null;
}

async function settle(kind: Kind, given: Given, environment: Environment): Promise<Settled> {
  if (kind === 'agent') {
    const { tunnels, process: ofProcess } = settleAgent(given, environment);
    return { tunnels: [tunnels[0].tunnel], ofProcess, ports: [], files: [], database: null };
  }
  if (kind === 'hub') {
    const { tunnels, process: ofProcess } = settleHub(given, environment);
    const [{ tunnel, ports, management }] = tunnels;
    return {
      tunnels: [tunnel],
      ofProcess,
      ports: [tunnel.listen.port, ports.first, management.api?.port ?? 0],
      files: management.tokenFile === null ? [] : [management.tokenFile],
      database: management.database,
    };
  }
  const layer = { shared: false, values: given as ReadonlyMap<FlagName, LayerValue> };
  const { tunnels, process: ofProcess } = await loadConfiguration(layer, environment);
  return { tunnels, ofProcess, ports: tunnels.map(({ listen }) => listen.port), files: [], database: null };
}

async function filesOf(settings: TunnelSettings): Promise<string[]> {
  const { secretFile, certFile, keyFile, clientCa, caFile, clients } = settings;
  const file = typeof clients === 'string' ? clients : null;
  const entries = file === null ? (clients as Exclude<typeof clients, string>) : (await readClientsFile(file)).clients;
  const ofClients = (entries ?? []).map((client) => client.secretFile);
  return [secretFile, certFile, keyFile, clientCa, caFile, file, ...ofClients].filter((one) => one !== null);
}

function supervised(given: Given): string[] {
  return given.has('supervise') ? [] : ['-supervise'];
}

/** Those that are not settled otherwise. */
function homeFlags(unit: string, state: string, tunnels: readonly TunnelSettings[], { logto }: ProcessSettings): string[] {
  const unsettled = tunnels.every(({ stateDir }) => stateDir === UNSETTLED);
  const log = path.win32.join(state, `${unit}.log`);
  return [...(unsettled ? [`-state-dir=${state}`] : []), ...(logto === 'stderr' ? [`-logto=${log}`] : [])];
}

function wordsOf(kind: Kind, given: Given): string[] {
  return [...given].map(([name, { value }]) => {
    const text = String(formatValue(flagOf(kind, name), value as never));
    return text === 'true' ? `-${name}` : `-${name}=${text}`;
  });
}

/** The service runs in another folder. */
function withAbsolutePath(flag: FlagShape, given: LayerValue): LayerValue {
  const text = String(given.value);
  const isPath = flag.kind === 'path' || flag.kind === 'clients' || flag.name === 'database';
  return !isPath || flag.words?.includes(text) || text.includes('://') ? given : { ...given, value: path.resolve(text) };
}

function flagOf(kind: Kind, name: string): FlagShape {
  return flagsOfKind(kind).find((flag) => flag.name === name)!;
}

function unseen(environment: Environment): string[] {
  return FLAGS.map(({ name }) => environmentName(name))
    .filter((variable) => (environment[variable] ?? '') !== '')
    .map((variable) => `${variable} is set here, and the service does not see it: give it as a flag, a secret as a file`);
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}

/** For the state folder, to see whether anything else says what it is. */
const UNSETTLED = '/unsettled';
const FIRST_FREE_PORT = 1024;
