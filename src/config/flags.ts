import type { Fec } from '../protocol/fec.ts';
import type { Address } from './settings.ts';

/**
 * Every flag, once. Parsing, `-help`, `QTUNNEL_…`, the YAML keys, `-check` and the library's options are all read from this table.
 *
 * `default` is written as a user would write it; null means that there is none, and `computed` that it depends on the machine
 * (defaults.ts). `only` names the role for which a flag means anything.
 */
export const FLAGS = [
  {
    name: 'listen',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'address',
    default: ':9001',
    anyPort: true,
    help: 'accept here: TCP on a client, the link on a server; port 0 takes a free one',
  },
  {
    name: 'backend',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'address',
    default: '127.0.0.1:6400',
    dialled: true,
    help: 'connect to: the server from a client, the TCP service from a server',
  },
  { name: 'clientmode', group: 'Tunnel', scope: 'tunnel', kind: 'boolean', default: 'false', help: 'be the client' },
  {
    name: 'quic',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'boolean',
    default: 'false',
    help: 'carry everything over QUIC (UDP); without it: TLS over TCP',
  },
  {
    name: 'fallback',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'boolean',
    default: 'true',
    help: 'with -quic, use TLS over TCP while UDP does not pass',
  },
  {
    name: 'transport',
    group: 'Tunnel',
    scope: 'tunnel',
    kind: 'enum',
    choices: ['quic', 'auto'],
    default: 'quic',
    only: 'client',
    help: 'with -quic and -fallback, what new connections take: always QUIC, or TLS on a near path without loss',
  },

  {
    name: 'secret',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'string',
    default: null,
    secret: true,
    help: 'the secret that both sides share; better in a file',
  },
  {
    name: 'secret-file',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'path',
    default: null,
    help: 'read the secret from this file',
  },
  {
    name: 'cert-file',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'path',
    default: null,
    only: 'server',
    help: "the server's certificate (PEM); without one it makes its own and keeps it in -state-dir",
  },
  {
    name: 'key-file',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'path',
    default: null,
    only: 'server',
    help: "the certificate's private key (PEM)",
  },
  {
    name: 'ca-file',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'path',
    default: null,
    only: 'client',
    help: 'trust servers whose certificate one of these (PEM) has signed',
  },
  {
    name: 'pin',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'fingerprint',
    default: null,
    only: 'client',
    help: 'trust only the certificate with this SHA-256 fingerprint',
  },
  {
    name: 'insecure',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'boolean',
    default: 'false',
    only: 'client',
    help: 'trust whoever answers: anybody on the way can read and change everything',
  },
  {
    name: 'known-hosts',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'path',
    computed: 'known_hosts in -state-dir',
    only: 'client',
    help: 'remember the fingerprints of servers here, as ssh does',
  },
  {
    name: 'state-dir',
    group: 'Who the peer is',
    scope: 'tunnel',
    kind: 'path',
    metavar: 'FOLDER',
    computed: '~/.local/state/qtunnel',
    help: 'folder for what has to survive a restart',
  },

  {
    name: 'congestion',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'enum',
    choices: ['bbr', 'cubic', 'reno'],
    default: 'bbr',
    help: 'congestion control of QUIC',
  },
  {
    name: 'blocks',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'enum',
    choices: ['auto', 'off'],
    default: 'auto',
    help: 'carry QUIC packets in blocks of datagrams, sent again below QUIC; with bbr only',
  },
  {
    name: 'fec',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'fec',
    default: 'auto',
    help: 'parity that brings lost datagrams back: auto, where it costs nothing; off; or P for each D, as in 10:1; with blocks only',
  },
  {
    name: 'udp',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'enum',
    choices: ['auto', 'dgram', 'batch'],
    default: 'auto',
    help: "send and receive UDP in batches (Linux), or by Node's dgram",
  },
  {
    name: 'idle-timeout',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'duration',
    default: '30s',
    help: 'give a link up when nothing was heard for so long',
  },
  {
    name: 'keepalive',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'duration',
    default: '1s',
    help: 'ask a silent peer this often whether it is there',
  },
  {
    name: 'dial-timeout',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'duration',
    default: '10s',
    help: 'how long a new connection waits for the link or the backend',
  },
  {
    name: 'drain-timeout',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'duration',
    default: '30s',
    help: 'how long open connections may go on after SIGTERM',
  },
  {
    name: 'max-connections',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'integer',
    min: 1,
    max: 1_000_000,
    default: '10000',
    help: 'connections open at once; more are refused',
  },
  {
    name: 'buffer',
    group: 'Limits and times',
    scope: 'tunnel',
    kind: 'size',
    min: 64 * 1024,
    max: 1024 ** 3,
    default: '16M',
    help: 'bytes held for a connection whose reader does not read',
  },

  {
    name: 'workers',
    group: 'Limits and times',
    scope: 'process',
    kind: 'integer',
    min: 1,
    max: 64,
    default: '1',
    help: 'threads that share the work, each with a link of its own; Linux',
  },

  {
    name: 'metrics',
    group: 'Watching it',
    scope: 'process',
    kind: 'address',
    default: null,
    help: 'serve /metrics (Prometheus), /healthz and /ready here',
  },
  {
    name: 'logto',
    group: 'Watching it',
    scope: 'process',
    kind: 'path',
    words: ['stdout', 'stderr', 'syslog'],
    default: 'stderr',
    help: 'stdout, stderr, syslog, or a file',
  },
  {
    name: 'log-level',
    group: 'Watching it',
    scope: 'process',
    kind: 'enum',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
    default: 'info',
    help: 'the least important line to log; debug adds stack traces',
  },
  {
    name: 'log-format',
    group: 'Watching it',
    scope: 'process',
    kind: 'enum',
    choices: ['pretty', 'json'],
    computed: 'pretty on a terminal, else json',
    help: 'how a line looks',
  },

  {
    name: 'conf',
    group: 'Many tunnels in one process',
    scope: 'command',
    kind: 'path',
    default: null,
    help: 'run the tunnels in this YAML file; the other flags override it',
  },
  {
    name: 'tag',
    group: 'Many tunnels in one process',
    scope: 'command',
    kind: 'list',
    default: '',
    metavar: 'A,B',
    help: 'run only these of them',
  },

  {
    name: 'generate-cert',
    group: 'Making a certificate',
    scope: 'command',
    kind: 'boolean',
    default: 'false',
    help: 'write -cert-file (server.crt) and -key-file (server.key) and exit',
  },
  {
    name: 'cert-host',
    group: 'Making a certificate',
    scope: 'command',
    kind: 'list',
    default: '',
    metavar: 'NAME',
    help: 'a name or IP address to put into it; may be given several times',
  },
  {
    name: 'cert-days',
    group: 'Making a certificate',
    scope: 'command',
    kind: 'integer',
    min: 1,
    max: 36_500,
    default: '3650',
    help: 'days it is valid for',
  },
  {
    name: 'force',
    group: 'Making a certificate',
    scope: 'command',
    kind: 'boolean',
    default: 'false',
    help: 'overwrite files that are there',
  },

  {
    name: 'check',
    group: 'About',
    scope: 'command',
    kind: 'boolean',
    default: 'false',
    help: 'print the effective settings, read the files they name, and exit',
  },
  {
    name: 'version',
    group: 'About',
    scope: 'command',
    kind: 'boolean',
    default: 'false',
    commandLineOnly: true,
    help: 'print the version and exit',
  },
  {
    name: 'help',
    group: 'About',
    scope: 'command',
    kind: 'boolean',
    default: 'false',
    commandLineOnly: true,
    help: 'print this and exit; -h is the same',
  },
] as const satisfies readonly FlagShape[];

export interface FlagShape {
  readonly name: string;
  readonly group: string;
  /** Belongs to one tunnel, to the whole process, or only to the command line and the environment. */
  readonly scope: 'tunnel' | 'process' | 'command';
  readonly kind: keyof KindValues;
  readonly help: string;
  /** As a user would write it; null for none. Left out where `computed` says in words what it is. */
  readonly default?: string | null;
  readonly computed?: string;
  /** The role the flag is for; left out for both. */
  readonly only?: 'client' | 'server';
  /** Never to be printed. */
  readonly secret?: true;
  /** Not read from the environment: `QTUNNEL_VERSION` is what an image's author calls the version he built. */
  readonly commandLineOnly?: true;
  /** What `-help` shows for the value; the kind's own word when left out. */
  readonly metavar?: string;
  /** address: port 0 is allowed; an empty host is not "all addresses" but this machine. */
  readonly anyPort?: true;
  readonly dialled?: true;
  /** enum: all values; path: words that are not paths. */
  readonly choices?: readonly string[];
  readonly words?: readonly string[];
  /** integer and size: bounds, both included. */
  readonly min?: number;
  readonly max?: number;
}

/** What a value of each kind is once parsed: durations are milliseconds, sizes bytes. */
export interface KindValues {
  boolean: boolean;
  string: string;
  path: string;
  address: Address;
  duration: number;
  size: number;
  integer: number;
  enum: string;
  fingerprint: string;
  fec: Fec;
  list: readonly string[];
}

export type Flag = (typeof FLAGS)[number];
export type FlagName = Flag['name'];
export type TunnelFlag = Extract<Flag, { scope: 'tunnel' }>;
export type ProcessFlag = Extract<Flag, { scope: 'process' }>;

/** The type of a flag's value, with null where a flag has no default. */
export type ValueOf<F extends Flag> = Given<F> | (F extends { default: null } ? null : never);
/** The type of a value that was given. */
export type Given<F extends Flag> = F extends { choices: readonly (infer C)[] } ? C : KindValues[F['kind']];

export type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

/** The values of flags under their names in camel case. */
export type ValuesOf<F extends Flag> = { readonly [One in F as CamelCase<One['name']>]: ValueOf<One> };

export const TUNNEL_FLAGS = FLAGS.filter((flag) => flag.scope === 'tunnel');
export const PROCESS_FLAGS = FLAGS.filter((flag) => flag.scope === 'process');
const BY_NAME: ReadonlyMap<string, Flag> = new Map(FLAGS.map((flag) => [flag.name, flag]));

export function findFlag(name: string): Flag | undefined {
  return BY_NAME.get(name);
}

/** `idle-timeout` → `idleTimeout`, the name in settings and library options. */
export function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** `idle-timeout` → `QTUNNEL_IDLE_TIMEOUT`. */
export function environmentName(name: string): string {
  return ENVIRONMENT_PREFIX + name.toUpperCase().replaceAll('-', '_');
}

export const ENVIRONMENT_PREFIX = 'QTUNNEL_';
