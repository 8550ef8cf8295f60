import type { BlockList } from 'node:net';
import { hostname } from 'node:os';
import { type Environment, environmentLayer } from '../config/environment.ts';
import { environmentName, type FlagName, type FlagShape } from '../config/flags.ts';
import { given, type Layer, type LayerValue, readValue } from '../config/layer.ts';
import { onTerminal } from '../config/load.ts';
import { settleProcess, settleTunnel } from '../config/settle.ts';
import type { Address, ProcessSettings, TunnelSettings } from '../config/settings.ts';
import { NAME, type Parsed } from '../config/values.ts';
import { QtunnelError } from '../errors.ts';
import { AllowList, parseNetworks } from './allow-list.ts';
import { readSettingsFile } from './file.ts';
import { AGENT_FLAGS, type AgentFlagName, HUB_FLAGS, type HubFlagName, isOwn } from './flags.ts';
import type { ManagementSettings } from './management.ts';
import { hasPassword } from './store/database-url.ts';
import { parsePorts, type PortRange } from './port-range.ts';
import { parseWish, type Wish } from './wish.ts';

/** What `qtunnel hub` is told. */
export interface HubSettings {
  /** A server's: how agents come in. Its backends mean nothing. */
  readonly tunnel: TunnelSettings;
  readonly takesAgents: boolean;
  readonly ports: PortRange;
  /** Milliseconds without a datagram after which a conversation over UDP is over. */
  readonly udpTimeout: number;
  readonly management: ManagementSettings;
}

/** What `qtunnel agent` is told. */
export interface AgentSettings {
  /** A client's, of which the hub is the server. */
  readonly tunnel: TunnelSettings;
  readonly name: string;
  readonly allow: AllowList;
  readonly wishes: readonly Wish[];
}

/** As `Configuration`, for one of the two. */
export interface Settled<Settings> {
  readonly tunnels: readonly [Settings];
  readonly process: ProcessSettings;
  readonly warnings: readonly string[];
}

type Words = ReadonlyMap<string, LayerValue>;

/**
 * The hub's settings: command line over environment over the file of `-conf` over defaults.
 * @throws QtunnelError `USAGE` or `CONFIG_INVALID` for what the user has to correct, `FILE_UNREADABLE`.
 */
export function settleHub(words: Words, environment: Environment): Settled<HubSettings> {
  const all = sources(words, environment, HUB_FLAGS, 'hub');
  const layers = [...all.map(ofTunnel), HUB_UNLESS_TOLD];
  const own = <T>(name: HubFlagName) => ownValue<T>(all, HUB_FLAGS, name);
  const settings: HubSettings = {
    tunnel: { ...settleTunnel('hub', [role(false), ...layers], environment), backend: null },
    takesAgents: own<boolean>('tunnel').value,
    ports: parsed(own<string>('ports'), parsePorts),
    udpTimeout: own<number>('udp-timeout').value,
    management: {
      api: own<Address | null>('api').value,
      tls: own<boolean>('api-tls').value,
      tokenFile: own<string | null>('api-token-file').value,
      networks: networksFrom(own<readonly string[]>('api-allow')),
      rate: own<number>('api-rate').value,
      database: own<string | null>('database').value,
    },
  };
  return { tunnels: [settings], process: settleProcess(layers, onTerminal), warnings: warningsFor(words) };
}

/** As `settleHub`, for an agent. */
export function settleAgent(words: Words, environment: Environment): Settled<AgentSettings> {
  const all = sources(words, environment, AGENT_FLAGS, 'agent');
  const own = <T>(name: AgentFlagName) => ownValue<T>(all, AGENT_FLAGS, name);
  const server = own<Address | null>('server');
  if (server.value === null) throw new QtunnelError('USAGE', 'an agent needs its hub: add -server=HOST:PORT');
  const layers = [...all.map(ofTunnel), hubOf({ where: server.where, value: server.value }), UNLESS_TOLD];
  const tunnel = settleTunnel('agent', [role(true), ...layers], environment);
  const settings: AgentSettings = {
    tunnel: { ...tunnel, proxyProtocol: own<boolean>('proxy-protocol').value },
    name: nameFrom(own<string | null>('name').value, given(layers, 'client-name')?.value),
    allow: parsed(own<readonly string[]>('allow'), (texts) => AllowList.parse(texts)),
    wishes: wishesFrom(own<readonly string[]>('R')),
  };
  return { tunnels: [settings], process: settleProcess(layers, onTerminal), warnings: warningsFor(words) };
}

/** What was given, the strongest first. */
function sources(words: Words, environment: Environment, flags: readonly FlagShape[], command: 'hub' | 'agent'): Source[] {
  const fromEnvironment = { tunnel: environmentLayer(environment, true), own: ownEnvironment(environment, flags) };
  const conf = words.get('conf')?.value ?? fromEnvironment.tunnel.values.get('conf')?.value;
  const file = typeof conf === 'string' ? [sourceOf(readSettingsFile(conf, flags, command), true)] : [];
  return [sourceOf(words, false), fromEnvironment, ...file];
}

interface Source {
  readonly tunnel: Layer;
  readonly own: Words;
}

function sourceOf(values: Words, shared: boolean): Source {
  const others = [...values].filter(([name]) => !isOwn(name)) as [FlagName, LayerValue][];
  return { tunnel: { shared, values: new Map(others) }, own: new Map([...values].filter(([name]) => isOwn(name))) };
}

function ofTunnel({ tunnel }: Source): Layer {
  return tunnel;
}

function ownEnvironment(environment: Environment, flags: readonly FlagShape[]): Words {
  const values = new Map<string, LayerValue>();
  for (const flag of flags.filter(({ name }) => isOwn(name))) {
    const variable = environmentName(flag.name);
    const text = environment[variable];
    if (text !== undefined && text !== '') values.set(flag.name, readValue(flag, text, variable, 'USAGE'));
  }
  return values;
}

function ownValue<T>(all: readonly Source[], flags: readonly FlagShape[], name: string): { where: string; value: T } {
  const found = all.map(({ own }) => own.get(name)).find((value) => value !== undefined);
  if (found !== undefined) return found as { where: string; value: T };
  const flag = flags.find((one) => one.name === name)!;
  const text = flag.default ?? null;
  const value = text === null ? null : text === '' ? [] : readValue(flag, text, `-${name}`, 'USAGE').value;
  return { where: `-${name}`, value: value as T };
}

function parsed<Given, Value>({ where, value }: { where: string; value: Given }, parse: (given: Given) => Parsed<Value>): Value {
  const result = parse(value);
  if ('value' in result) return result.value;
  throw new QtunnelError('USAGE', `${where}: expected ${result.expected}, got "${String(value)}"`);
}

/** Null for none, which means all. */
function networksFrom(given: { where: string; value: readonly string[] }): BlockList | null {
  return given.value.length === 0 ? null : parsed(given, parseNetworks);
}

function wishesFrom({ where, value }: { where: string; value: readonly string[] }): Wish[] {
  const wishes = value.map((text) => parsed({ where, value: text }, parseWish));
  const keys = wishes.map(({ protocol, port }) => `${port}/${protocol}`);
  const twice = keys.find((key, index) => keys.indexOf(key) < index);
  if (twice !== undefined) throw new QtunnelError('USAGE', `${where} has the hub's port ${twice} twice: give each once`);
  return wishes;
}

/** A machine's name may have what an agent's may not. */
function nameFrom(name: string | null, client: string | undefined): string {
  const own = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 64);
  return name ?? client ?? (NAME.test(own) ? own : 'agent');
}

function role(clientmode: boolean): Layer {
  return { shared: true, values: new Map([['clientmode', { where: '', value: clientmode }]]) };
}

function hubOf({ where, value }: { where: string; value: Address }): Layer {
  return { shared: true, values: new Map([['backend', { where, value: [{ name: '', ...value }] }]]) };
}

function warningsFor(words: Words): string[] {
  const database = String(words.get('database')?.value ?? '');
  return [
    ...(words.has('secret') ? [`-secret: ${READABLE} use -secret-file or QTUNNEL_SECRET`] : []),
    ...(hasPassword(database)
      ? [`-database: ${READABLE} give the URL in a file for -conf, in QTUNNEL_DATABASE, or leave the password to ~/.pgpass`]
      : []),
  ];
}

const READABLE = 'other users of this machine can read it in the process list;';
const UNLESS_TOLD: Layer = { shared: true, values: new Map([['quic', { where: '-quic', value: true }]]) };
const HUB_UNLESS_TOLD: Layer = {
  shared: true,
  values: new Map([...UNLESS_TOLD.values, ['listen', { where: '-listen', value: { host: '', port: 9000 } }]]),
};
