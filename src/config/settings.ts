import { QtunnelError } from '../errors.ts';
import type { Fec } from '../protocol/fec.ts';

/**
 * The settings of one tunnel, complete and checked: what the command line, the environment, a YAML file and the library's options all
 * come down to. Names are the flags' names in camel case; durations are milliseconds, sizes bytes.
 */
export interface TunnelSettings {
  /** The tunnel's name in logs and metrics; `default` when there is only one. */
  readonly tag: string;
  readonly clientmode: boolean;
  readonly listen: Address;
  /** A client: the server. A server: where connections go that name no backend; null when it has named ones only. */
  readonly backend: Address | null;
  /** A client: further servers, of which the best is used at any time; empty for a server. */
  readonly otherServers: readonly Address[];
  /** A server's other backends, by name; a client has none. */
  readonly backends: Readonly<Record<string, Address>>;
  /** A client: the name of the server's backend that connections go to; null for the one without a name. */
  readonly target: string | null;
  /** A server: each backend is told the application's address before the first byte. */
  readonly proxyProtocol: boolean;
  readonly quic: boolean;
  readonly fallback: boolean;
  readonly transport: 'quic' | 'auto';
  /** Over QUIC: a client says its first bytes in the first flight, a server takes them. */
  readonly earlyData: boolean;

  /** The shared secret, given directly; null without one. At most one of `secret` and `secretFile` is set. */
  readonly secret: string | null;
  /** The file to read the secret from, when the tunnel starts and again on a reload. */
  readonly secretFile: string | null;
  /** A server: its named clients, or the file that has them; null without any. */
  readonly clients: string | readonly ClientEntry[] | null;
  /** A client: the name that the server knows it by; null for none. */
  readonly clientName: string | null;
  /** What this side shows: always on a server, to a server that asks on a client. */
  readonly certFile: string | null;
  readonly keyFile: string | null;
  /** A server: the authorities one of which has to have signed its clients' certificates; null for none. */
  readonly clientCa: string | null;
  readonly caFile: string | null;
  /** SHA-256 fingerprint of the server's certificate: 64 lower-case hexadecimal digits without colons; null for none. */
  readonly pin: string | null;
  readonly insecure: boolean;
  readonly knownHosts: string;
  readonly stateDir: string;

  readonly congestion: 'bbr' | 'cubic' | 'reno';
  readonly blocks: 'auto' | 'off';
  readonly fec: Fec;
  readonly udp: 'auto' | 'dgram' | 'batch';
  readonly idleTimeout: number;
  readonly keepalive: number;
  readonly dialTimeout: number;
  readonly drainTimeout: number;
  readonly maxConnections: number;
  /** Of one client; on a hub of one source address at its public ports. Null for as many as there may be. */
  readonly maxConnectionsPerClient: number | null;
  /** On a server or hub. */
  readonly maxLinksPerClient: number;
  /** Bits a second in each direction, of all connections together; null for no limit. */
  readonly bandwidth: number | null;
  /** The most bytes a stream holds for a reader that does not read. */
  readonly buffer: number;

  readonly handshakeTimeout: number;
  readonly handshakeBytes: number;
  readonly handshakeDatagrams: number;
  readonly maxHandshakes: number;
  readonly maxHandshakesPerSource: number;
  readonly retryAbove: number;
  readonly attemptsPerSource: number;
}

/** One of a server's named clients as it is given. It has a secret, fingerprints, or both; at most one of `secret` and `secretFile` is set. */
export interface ClientEntry {
  readonly name: string;
  readonly secret: string | null;
  readonly secretFile: string | null;
  /** Of its certificate, any of these: 64 lower-case hexadecimal digits each; null for a client that needs none. */
  readonly fingerprints: readonly string[] | null;
  /** Names of the backends that it may reach, `default` for the one without a name; null for all. */
  readonly backends: readonly string[] | null;
  /** Null for as many as the tunnel allows. */
  readonly maxConnections: number | null;
  /** Bits a second in each direction, of all its connections together; null for no limit of its own. */
  readonly bandwidth: number | null;
  /** Of a hub: the public ports that it may ask for, and no other client; null for all that are no other client's. */
  readonly ports: readonly PortSpan[] | null;
}

/** Port numbers, both ends included. */
export interface PortSpan {
  readonly first: number;
  readonly last: number;
}

/** How a named client's rights call the backend without a name. */
export const DEFAULT_BACKEND = 'default';

/** The servers that a client's settings name, at least one. */
export function serversOf(settings: Pick<TunnelSettings, 'backend' | 'otherServers'>): readonly [Address, ...Address[]] {
  return [serverOf(settings), ...settings.otherServers];
}

/** The first of them. */
export function serverOf({ backend }: Pick<TunnelSettings, 'backend'>): Address {
  if (backend === null) throw new QtunnelError('INTERNAL', "A client's settings have no server.");
  return backend;
}

/** Host is a name or an IP address without brackets; empty stands for every local address (listen only). */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** An address under a name; the name is empty for one without. */
export interface NamedAddress extends Address {
  readonly name: string;
}

/** What concerns the whole process rather than one tunnel. */
export interface ProcessSettings {
  /** Threads that share the tunnels; 1 for none besides the main thread. */
  readonly workers: number;
  /** Bytes of memory that the process may have; null for as many as there are. */
  readonly maxMemory: number | null;
  /** Whether all of it runs in a child process, which is started again when it dies. */
  readonly supervise: boolean;
  /** Milliseconds after which a child that does not answer is ended. */
  readonly hangTimeout: number;
  readonly metrics: Address | null;
  /** `stdout`, `stderr`, `syslog`, or a file's path. */
  readonly logto: string;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly logFormat: 'pretty' | 'json';
}
