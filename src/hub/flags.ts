import { findFlag, type FlagName, type FlagShape, PROCESS_FLAGS, TUNNEL_FLAGS } from '../config/flags.ts';

/** What only `qtunnel hub` has. */
const HUB_OWN = [
  {
    name: 'ports',
    group: 'Hub',
    scope: 'tunnel',
    kind: 'string',
    metavar: 'FROM-TO',
    default: '10000-10100',
    help: 'the public ports that may be opened, as in 10000-10100, or 192.0.2.1:10000-10100 for one local address',
  },
  {
    name: 'tunnel',
    group: 'Hub',
    scope: 'tunnel',
    kind: 'boolean',
    default: 'true',
    help: 'take agents; without it the hub only forwards directly',
  },
  {
    name: 'udp-timeout',
    group: 'Hub',
    scope: 'tunnel',
    kind: 'duration',
    default: '2m',
    help: 'how long a UDP port remembers a client that neither says nor hears anything',
  },
  {
    name: 'api',
    group: 'API and database',
    scope: 'tunnel',
    kind: 'address',
    default: null,
    anyPort: true,
    help: 'serve the HTTP API here; on loopback only, unless there is a token',
  },
  {
    name: 'api-token-file',
    group: 'API and database',
    scope: 'tunnel',
    kind: 'path',
    default: null,
    help: 'a file with a token for the API, which may do everything; others are made with qtunnel token create',
  },
  {
    name: 'api-allow',
    group: 'API and database',
    scope: 'tunnel',
    kind: 'list',
    metavar: 'NETWORK,…',
    default: '',
    help: 'answer only clients of these networks, such as 10.0.0.0/8',
  },
  {
    name: 'api-rate',
    group: 'API and database',
    scope: 'tunnel',
    kind: 'integer',
    min: 1,
    max: 1_000_000,
    default: '1200',
    help: 'requests that one address may make in a minute',
  },
  {
    name: 'api-tls',
    group: 'API and database',
    scope: 'tunnel',
    kind: 'boolean',
    default: 'false',
    help: "HTTPS, with the hub's certificate",
  },
  {
    name: 'database',
    group: 'API and database',
    scope: 'tunnel',
    kind: 'string',
    metavar: 'FILE|URL',
    secret: true,
    computed: 'hub.db in -state-dir when there is an -api',
    help: 'what keeps mappings, tokens and counters: a file (SQLite), or postgres://user:password@host/name, which several hubs may share',
  },
] as const satisfies readonly FlagShape[];

/** What only `qtunnel agent` has. */
const AGENT_OWN = [
  {
    name: 'server',
    group: 'Agent',
    scope: 'tunnel',
    kind: 'address',
    default: null,
    dialled: true,
    help: 'the hub; has to be given',
  },
  {
    name: 'R',
    group: 'Agent',
    scope: 'tunnel',
    kind: 'list',
    metavar: 'PORT:HOST:PORT',
    default: '',
    help: "ask for this port of the hub's and have it lead to this address, as with ssh -R; may be given several times; with /udp behind it for UDP",
  },
  {
    name: 'allow',
    group: 'Agent',
    scope: 'tunnel',
    kind: 'list',
    metavar: 'NET:PORTS,…',
    default: 'localhost:*',
    help: 'what the hub may reach through this agent, besides what -R names: 127.0.0.1:22, 10.0.0.0/8:80-443, [fd00::]/8:*',
  },
  {
    name: 'name',
    group: 'Agent',
    scope: 'tunnel',
    kind: 'name',
    computed: '-client-name, else the name of the machine',
    help: 'what the hub calls this agent; each has its own',
  },
  {
    name: 'proxy-protocol',
    group: 'Agent',
    scope: 'tunnel',
    kind: 'boolean',
    default: 'false',
    help: "tell the targets each client's address, by a PROXY protocol v2 header; they have to expect it",
  },
] as const satisfies readonly FlagShape[];

export type HubFlagName = (typeof HUB_OWN)[number]['name'];
export type AgentFlagName = (typeof AGENT_OWN)[number]['name'];

const NOT_HERE: ReadonlySet<FlagName> = new Set(['backend', 'target', 'proxy-protocol', 'clientmode', 'early-data']);
/** What differs here from what the tunnel's flags say of themselves. */
const CHANGED: Partial<Record<FlagName, Partial<FlagShape>>> = {
  quic: { default: 'true', help: 'QUIC, over UDP' },
  fallback: { help: 'with QUIC, also TLS over TCP' },
};
const CHANGED_BY_HUB: Partial<Record<FlagName, Partial<FlagShape>>> = {
  ...CHANGED,
  listen: { group: 'Hub', default: ':9000', help: 'wait here for agents, in UDP and in TCP; port 0 takes a free one' },
};
const CHANGED_OF_PROCESS: Partial<Record<FlagName, Partial<FlagShape>>> = {
  supervise: { help: 'work in a child process that is started again when it dies or hangs' },
};
const CHANGED_BY_AGENT: Partial<Record<FlagName, Partial<FlagShape>>> = {
  ...CHANGED,
  'client-name': { help: "the name under which the hub's -clients has this agent" },
};

/** Every flag of `qtunnel hub` and of `qtunnel agent`. */
export const HUB_FLAGS: readonly FlagShape[] = [...HUB_OWN, ...ofTunnel('server', CHANGED_BY_HUB), ...ofProcess('hub')];
export const AGENT_FLAGS: readonly FlagShape[] = [...AGENT_OWN, ...ofTunnel('client', CHANGED_BY_AGENT), ...ofProcess('agent')];

/** Whether only these commands have the flag, or give it another meaning. */
export function isOwn(name: string): boolean {
  return [...HUB_OWN, ...AGENT_OWN].some((flag) => flag.name === name);
}

function ofTunnel(role: 'server' | 'client', changed: Partial<Record<FlagName, Partial<FlagShape>>>): FlagShape[] {
  return TUNNEL_FLAGS.filter((flag) => !NOT_HERE.has(flag.name) && !('only' in flag && flag.only !== role))
    .filter(({ name }) => role === 'server' || name !== 'listen')
    .map((flag) => ({ ...flag, ...changed[flag.name] }));
}

function ofProcess(command: string): FlagShape[] {
  const conf = {
    ...findFlag('conf')!,
    group: 'Watching it',
    help: `read settings from this YAML file (qtunnel ${command} -help shows one)`,
  };
  const ofAll = PROCESS_FLAGS.filter(({ name }) => name !== 'workers').map((flag) => ({
    ...flag,
    ...CHANGED_OF_PROCESS[flag.name],
  }));
  return [...ofAll, conf, findFlag('check')!, findFlag('help')!];
}
