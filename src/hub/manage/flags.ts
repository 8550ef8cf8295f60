import { findFlag, type FlagShape } from '../../config/flags.ts';

/** Where the hub's API is and how to be let in, for every command. */
const OF_ALL: readonly FlagShape[] = [
  {
    name: 'api',
    group: 'The hub',
    scope: 'command',
    kind: 'string',
    default: '127.0.0.1:8080',
    metavar: 'HOST:PORT',
    help: "the hub's -api, or its URL: https://hub.example:8080",
  },
  {
    name: 'token-file',
    group: 'The hub',
    scope: 'command',
    kind: 'path',
    default: null,
    help: 'read the token from this file; QTUNNEL_TOKEN may hold the token itself',
  },
  { ...findFlag('ca-file')!, group: 'The hub', help: 'with https, trust certificates that one of these (PEM) has signed' },
  { ...findFlag('pin')!, group: 'The hub', help: 'with https, trust only the certificate with this SHA-256 fingerprint' },
  { name: 'json', group: 'Output', scope: 'command', kind: 'boolean', default: 'false', help: "print the hub's answer as JSON" },
  findFlag('help')!,
].map((flag) => flag as FlagShape);

const PUBLIC_PORT: readonly FlagShape[] = [
  {
    name: 'port',
    group: 'Mapping',
    scope: 'command',
    kind: 'integer',
    min: 1,
    max: 65_535,
    default: null,
    help: "the hub's public port",
  },
  {
    name: 'protocol',
    group: 'Mapping',
    scope: 'command',
    kind: 'enum',
    choices: ['tcp', 'udp'],
    default: 'tcp',
    help: 'what it carries',
  },
];

const PROPERTIES: readonly FlagShape[] = [
  {
    name: 'target',
    group: 'Mapping',
    scope: 'command',
    kind: 'string',
    default: null,
    metavar: 'HOST:PORT',
    help: 'where it leads',
  },
  {
    name: 'agent',
    group: 'Mapping',
    scope: 'command',
    kind: 'name',
    default: null,
    help: 'only through this agent',
  },
  {
    name: 'allow',
    group: 'Mapping',
    scope: 'command',
    kind: 'list',
    default: '',
    metavar: 'NETWORK',
    help: 'only clients of these networks',
  },
  { name: 'bandwidth', group: 'Mapping', scope: 'command', kind: 'rate', default: null, help: 'at most so much in each direction' },
  { name: 'note', group: 'Mapping', scope: 'command', kind: 'string', default: null, help: 'for people' },
];

const DIRECT: FlagShape = {
  name: 'direct',
  group: 'Mapping',
  scope: 'command',
  kind: 'boolean',
  default: 'false',
  help: 'the hub dials the target itself',
};

const CLEAR: FlagShape = {
  name: 'clear',
  group: 'Mapping',
  scope: 'command',
  kind: 'list',
  default: '',
  metavar: 'agent,allow,…',
  help: 'as without these: any agent, everybody, no bandwidth limit, no note',
};

const NEW_TOKEN: readonly FlagShape[] = [
  { name: 'name', group: 'Token', scope: 'command', kind: 'name', default: null, help: 'for the audit log' },
  {
    name: 'role',
    group: 'Token',
    scope: 'command',
    kind: 'enum',
    choices: ['read', 'manage'],
    default: 'read',
    help: 'what it may do',
  },
];

const OLD_TOKEN: readonly FlagShape[] = [
  { name: 'id', group: 'Token', scope: 'command', kind: 'name', default: null, help: 'which one, as token list shows it' },
];

/** The commands that talk to a hub, and the flags that each takes. */
export const MANAGE_FLAGS = {
  'mapping create': [...PUBLIC_PORT, ...PROPERTIES, DIRECT, ...OF_ALL],
  'mapping update': [...PUBLIC_PORT, ...PROPERTIES, CLEAR, ...OF_ALL],
  'mapping remove': [...PUBLIC_PORT, ...OF_ALL],
  'mapping list': OF_ALL,
  'token create': [...NEW_TOKEN, ...OF_ALL],
  'token remove': [...OLD_TOKEN, ...OF_ALL],
  'token list': OF_ALL,
  agents: OF_ALL,
  status: OF_ALL,
} as const satisfies Readonly<Record<string, readonly FlagShape[]>>;

export type ManageCommand = keyof typeof MANAGE_FLAGS;

/** First words of a command line that lead here. */
export const MANAGE_WORDS: ReadonlySet<string> = new Set(Object.keys(MANAGE_FLAGS).map((command) => command.split(' ', 1)[0]!));
