import { resolve } from 'node:path';
import { temporaryFolder } from './files.ts';
import { Program } from './process.ts';
import type { Owner, ProcessOptions } from './process.ts';
import { serverFolder } from './server-folder.ts';
import { freePort } from './tcp.ts';

/** Both ways of carrying connections; tests that concern both run once for each. */
export const MODES = ['quic', 'tls'] as const;
export type Mode = (typeof MODES)[number];

/** The command that `npm run build` makes. Tests run in the project's folder. */
export const COMMAND = resolve('dist/bin/qtunnel.js');

export const SECRET = 'the secret of the tests';

/** A line of the log in its JSON format; `event` names it. */
export interface LogLine extends Record<string, unknown> {
  readonly event?: string;
  readonly msg?: string;
}

/** The built command, running, and what it has logged. */
export class Qtunnel extends Program {
  /** All log lines so far. */
  readonly log: LogLine[] = [];

  /** The first line of this event with these fields, after the first `skip` lines of the log; waits for it. */
  event(name: string, fields: Record<string, unknown> = {}, { skip = 0, deadline }: EventOptions = {}): Promise<LogLine> {
    const matches = (line: LogLine) => line.event === name && Object.entries(fields).every(([key, value]) => line[key] === value);
    let next = skip;
    const find = () => {
      while (next < this.log.length) {
        const line = this.log[next++]!;
        if (matches(line)) return line;
      }
      return undefined;
    };
    return this.waitFor(`the event ${name} ${JSON.stringify(fields)}`, find, deadline);
  }

  /** All lines of this event so far. */
  events(name: string): LogLine[] {
    return this.log.filter((line) => line.event === name);
  }

  protected override onLine(text: string): void {
    const line = parseLine(text);
    if (line) this.log.push(line);
  }
}

export interface EventOptions {
  readonly skip?: number;
  readonly deadline?: number;
}

export interface RunOptions extends ProcessOptions {
  /** Null for none. */
  readonly secret?: string | null;
  /** The most file descriptors that it may have; needs the program prlimit, and Node 130 for its modules. */
  readonly descriptors?: number;
  /** A module that the process loads first: the URL of a file. */
  readonly preload?: string;
}

/** Starts the command as a user would, with the log in JSON, at debug level unless told otherwise. */
export function startQtunnel(
  t: Owner,
  flags: readonly string[],
  { secret = SECRET, descriptors, preload, env, ...options }: RunOptions = {},
): Qtunnel {
  const level = flags.some((flag) => flag.startsWith('-log-level')) ? [] : ['-log-level=debug'];
  // `hub` and the like stand before all flags.
  const words = flags.slice(0, flags[0]?.startsWith('-') === false ? 1 : 0);
  const args = [
    ...(preload === undefined ? [] : [`--import=${preload}`]),
    COMMAND,
    ...words,
    '-log-format=json',
    ...level,
    ...flags.slice(words.length),
  ];
  const secretEnv = secret === null ? {} : { QTUNNEL_SECRET: secret };
  const [command, prefix] =
    descriptors === undefined ? [process.execPath, []] : ['prlimit', [`--nofile=${descriptors}:${descriptors}`, process.execPath]];
  const qtunnel = new Qtunnel(command, [...prefix, ...args], { ...options, env: { ...secretEnv, ...env } });
  t.teardown(() => qtunnel.kill());
  return qtunnel;
}

export interface ServerOptions extends RunOptions {
  readonly mode: Mode;
  /** The backend's port on 127.0.0.1, or its address. */
  readonly backend: number | string;
  readonly listen?: string;
  /** One with a certificate that all such servers of a test file share, unless told otherwise. */
  readonly stateDir?: string;
  readonly flags?: readonly string[];
}

export interface RunningServer {
  readonly process: Qtunnel;
  readonly port: number;
  readonly fingerprint: string;
  readonly stateDir: string;
}

/** Starts a server and waits until it listens. */
export async function startServer(t: Owner, options: ServerOptions): Promise<RunningServer> {
  const { mode, backend, listen = `127.0.0.1:${await freePort()}`, flags = [], ...rest } = options;
  const stateDir = options.stateDir ?? serverFolder(t);
  const address = typeof backend === 'number' ? `127.0.0.1:${backend}` : backend;
  const process = startQtunnel(
    t,
    [`-listen=${listen}`, `-backend=${address}`, `-quic=${mode === 'quic'}`, `-state-dir=${stateDir}`, ...flags],
    rest,
  );
  const listening = await process.event('listening', {}, { deadline: START_MS });
  return { process, port: portOf(listening['tcp'] ?? listening['udp']), fingerprint: String(listening['fingerprint']), stateDir };
}

export interface ClientOptions extends RunOptions {
  readonly mode: Mode;
  /** The server's port on 127.0.0.1, or its address. */
  readonly server: number | string;
  readonly listen?: string;
  readonly stateDir?: string;
  readonly flags?: readonly string[];
  /** Whether to wait until the link is up; true unless told otherwise. */
  readonly waitForLink?: boolean;
}

export interface RunningClient {
  readonly process: Qtunnel;
  readonly port: number;
}

/** Starts a client and waits until it listens and its link is up. */
export async function startClient(t: Owner, options: ClientOptions): Promise<RunningClient> {
  const { mode, server, listen = '127.0.0.1:0', stateDir = temporaryFolder(t), flags = [], waitForLink = true, ...rest } = options;
  const address = typeof server === 'number' ? `127.0.0.1:${server}` : server;
  const process = startQtunnel(
    t,
    ['-clientmode', `-listen=${listen}`, `-backend=${address}`, `-quic=${mode === 'quic'}`, `-state-dir=${stateDir}`, ...flags],
    rest,
  );
  const listening = await process.event('listening', {}, { deadline: START_MS });
  if (waitForLink) await process.event('link_up', { transport: mode }, { deadline: START_MS });
  return { process, port: portOf(listening['tcp']) };
}

export interface Tunnel {
  readonly server: RunningServer;
  readonly client: RunningClient;
  /** Where applications connect to. */
  readonly port: number;
}

/** A server and a client with its link up, in front of a backend on this port. */
export async function startTunnel(
  t: Owner,
  mode: Mode,
  backend: number | string,
  { serverFlags = [], clientFlags = [] }: { serverFlags?: readonly string[]; clientFlags?: readonly string[] } = {},
): Promise<Tunnel> {
  const stateDir = serverFolder(t);
  const server = await startServer(t, { mode, backend, stateDir, flags: serverFlags });
  const client = await startClient(t, { mode, server: server.port, stateDir, flags: clientFlags });
  return { server, client, port: client.port };
}

function portOf(address: unknown): number {
  const port = Number(/:(\d+)$/.exec(String(address))?.[1]);
  if (!port) throw new Error(`No port in ${String(address)}`);
  return port;
}

function parseLine(line: string): LogLine | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}

/** To start takes a second of CPU time, of which a busy machine has little. */
const START_MS = 120_000;
