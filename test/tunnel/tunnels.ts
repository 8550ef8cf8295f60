import { pino } from 'pino';
import type { Test } from 'tap';
import type { Address, ClientEntry, TunnelSettings } from '../../src/config/settings.ts';
import { QtunnelError } from '../../src/errors.ts';
import type { Link } from '../../src/link/link.ts';
import { TunnelMetrics } from '../../src/observe/tunnel-metrics.ts';
import { type ClientTunnel, startClientTunnel } from '../../src/tunnel/client.ts';
import type { TunnelContext } from '../../src/tunnel/context.ts';
import { NO_EVENTS } from '../../src/tunnel/events.ts';
import { type ServerTunnel, startServerTunnel } from '../../src/tunnel/server.ts';
import { eventually } from '../support/deadline.ts';
import type { Owner } from '../support/process.ts';
import { serverFolder } from '../support/server-folder.ts';
import { freePort } from '../support/tcp.ts';

/** One for all tunnels of a test. */
const stateDirs = new Map<Owner, string>();

export interface Watched<T> {
  readonly tunnel: T;
  readonly metrics: TunnelMetrics;
  readonly lines: readonly LogLine[];
}

export interface LogLine {
  readonly event?: string;
  readonly msg: string;
  readonly reason?: string;
}

/** A server in this process, ended with the test. */
export async function server(t: Test, settings: Partial<TunnelSettings>): Promise<Watched<ServerTunnel>> {
  const { context, ...seen } = watched();
  const listen = { host: '127.0.0.1', port: await freePort() };
  const tunnel = await startServerTunnel(tunnelSettings(t, { listen, ...settings }), context);
  t.teardown(() => tunnel.close(OVER));
  return { tunnel, ...seen };
}

/** A client in this process, ended with the test. */
export async function client(
  t: Test,
  to: { readonly address: Address },
  settings: Partial<TunnelSettings> = {},
): Promise<Watched<ClientTunnel> & { readonly port: number }> {
  const { context, ...seen } = watched();
  const all = tunnelSettings(t, { clientmode: true, listen: { host: '127.0.0.1', port: 0 }, backend: to.address, ...settings });
  const tunnel = await startClientTunnel(all, context);
  t.teardown(() => tunnel.close(OVER));
  return { tunnel, port: tunnel.address!.port, ...seen };
}

/** The client's link is up. */
export async function linkUp({ tunnel }: Watched<ClientTunnel>): Promise<Link> {
  await eventually('a link', () => tunnel.uplink.current() !== null);
  return tunnel.uplink.current()!;
}

export async function reload(tunnel: ServerTunnel | ClientTunnel, changes: Partial<TunnelSettings>): Promise<void> {
  const change = await tunnel.prepare({ ...(tunnel.settings as TunnelSettings), ...changes });
  change.takeEffect();
}

export function tunnelSettings(t: Owner, settings: Partial<TunnelSettings>): TunnelSettings {
  const stateDir = stateDirs.get(t) ?? serverFolder(t);
  stateDirs.set(t, stateDir);
  return {
    tag: 'test',
    clientmode: false,
    listen: { host: '127.0.0.1', port: 0 },
    backend: { host: '127.0.0.1', port: 1 },
    otherServers: [],
    backends: {},
    target: null,
    proxyProtocol: false,
    quic: true,
    fallback: true,
    transport: 'quic',
    earlyData: false,
    secret: 'the secret of the tests',
    secretFile: null,
    clients: null,
    clientName: null,
    certFile: null,
    keyFile: null,
    clientCa: null,
    caFile: null,
    pin: null,
    insecure: false,
    knownHosts: `${stateDir}/known_hosts`,
    stateDir,
    congestion: 'bbr',
    blocks: 'auto',
    fec: 'auto',
    udp: 'auto',
    idleTimeout: 30_000,
    keepalive: 10_000,
    dialTimeout: 10_000,
    drainTimeout: 30_000,
    maxConnections: 1_000,
    bandwidth: null,
    buffer: 1024 * 1024,
    handshakeTimeout: 10_000,
    handshakeBytes: 32 * 1024,
    handshakeDatagrams: 32,
    maxHandshakes: 256,
    maxHandshakesPerSource: 64,
    maxConnectionsPerClient: null,
    maxLinksPerClient: 1_000,
    retryAbove: 64,
    attemptsPerSource: 10,
    ...settings,
  };
}

/** A named client with the secret `of NAME` and every right. */
export function clientEntry(name: string, changes: Partial<ClientEntry> = {}): ClientEntry {
  return {
    name,
    secret: `of ${name}`,
    secretFile: null,
    fingerprints: null,
    backends: null,
    maxConnections: null,
    bandwidth: null,
    ports: null,
    ...changes,
  };
}

/** What a client of such an entry is given. */
export function credentials(name: string) {
  return { clientName: name, secret: `of ${name}` };
}

export function watched(): { context: TunnelContext; metrics: TunnelMetrics; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) });
  const metrics = new TunnelMetrics('test');
  return { context: { log, metrics, events: NO_EVENTS }, metrics, lines };
}

export const OVER = new QtunnelError('SHUTTING_DOWN', 'The test is over.');
export const MODES = [
  { name: 'quic', quic: true, fallback: false },
  { name: 'tls', quic: false, fallback: false },
] as const;
