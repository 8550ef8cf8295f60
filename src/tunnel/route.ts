import { lookup } from 'node:dns/promises';
import { type Address, serversOf } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { formatFingerprint } from '../identity/fingerprint.ts';
import { TicketFiles } from '../identity/ticket-files.ts';
import { TrustPolicy } from '../identity/trust.ts';
import { formatAddress } from '../link/address.ts';
import type { LinkAuth, LinkTarget, LinkUse } from '../link/options.ts';
import type { QuicConnectOptions } from '../quic/connect.ts';
import { connectTls } from '../tls/connect.ts';
import type { TunnelContext } from './context.ts';
import { linkOptions } from './security.ts';
import type { Supplies } from './supplies.ts';
import type { RunningSettings } from './tunnel.ts';
import type { ServerMark } from './server-choice.ts';
import type { Connect, Transport, UplinkHandler } from './uplink.ts';
import type { UplinksHandler, Way } from './uplinks.ts';

/** How an uplink makes its links with certain settings. */
export interface Route {
  /** To each server. */
  readonly ways: readonly Way[];
  readonly handler: UplinksHandler;
  /** Makes ahead what the links need that may fail to be made. @throws QtunnelError `INTERNAL`. */
  prepare(): Promise<void>;
  /** All that a link depends on, the contents of files included: two routes with the same make the same links. */
  readonly basis: unknown;
}

/** The route for these settings. @throws QtunnelError when the secret or what the trust rests on cannot be loaded. */
export async function loadRoute(
  settings: RunningSettings,
  context: TunnelContext,
  supplies: Supplies,
  use: LinkUse = {},
): Promise<Route> {
  const { auth, given } = await supplies.loadAuth(settings, context.log);
  const trust = await TrustPolicy.load({ ...settings, secret: given });
  const means = { auth, trust, supplies, use };
  const routes = serversOf(settings).map((server) => {
    const options = optionsFor(server, settings, context, means);
    return { server, options, connect: connectors(server, settings, options, supplies) };
  });
  return {
    ways: routes.map(({ server, connect }) => ({ server: formatAddress(server), connect, handler: uplinkLog(server, context) })),
    handler: choiceLog(context),
    prepare: async () => {
      if (!settings.quic) return;
      // Without a native part links are made over TLS, if at all.
      const quic = await supplies.loadQuic().catch(() => null);
      for (const { options } of routes) quic?.prepareQuic(options);
    },
    basis: basisOf(settings, auth, trust),
  };
}

/** The limit on connections is the client's own: a change of it concerns the streams of links that are made later. */
function basisOf(settings: RunningSettings, { key, client, certificate }: LinkAuth, trust: TrustPolicy): unknown {
  return {
    ...Object.fromEntries(LINK_SETTINGS.map((name) => [name, settings[name]])),
    key,
    client,
    certificate: certificate?.fingerprint,
    trust: trust.basis,
  };
}

interface Means {
  readonly auth: LinkAuth;
  readonly trust: TrustPolicy;
  readonly supplies: Supplies;
  readonly use: LinkUse;
}

function optionsFor(server: Address, settings: RunningSettings, context: TunnelContext, means: Means): QuicConnectOptions {
  const { congestion, blocks, fec, udp } = settings;
  const { auth, use } = means;
  const checkServer = serverCheck(server, means, context);
  const tickets = settings.earlyData ? ticketsFor(server, settings, auth, context) : null;
  return { ...linkOptions(settings, auth), ...use, checkServer, congestion, blocks, fec, udp, tickets };
}

function connectors(
  server: Address,
  { quic, fallback }: RunningSettings,
  options: QuicConnectOptions,
  supplies: Supplies,
): Connect {
  const resolve = resolver(server);
  const connect: Connect = {};
  if (quic) {
    connect.quic = async (signal) => {
      const { connectQuic } = await supplies.loadQuic();
      return await connectQuic(await resolve(signal), options, signal);
    };
  }
  if (!quic || fallback) connect.tls = async (signal) => await connectTls(await resolve(signal), options, signal);
  return connect;
}

/** Of this server, and of who the client is to it. */
function ticketsFor(
  server: Address,
  { stateDir }: RunningSettings,
  { client = '', certificate }: LinkAuth,
  { log }: TunnelContext,
): TicketFiles {
  const of = [formatAddress(server), client, certificate?.fingerprint ?? ''];
  return new TicketFiles(stateDir, of, (problem) => log.warn({ event: 'warning' }, problem));
}

function serverCheck(server: Address, { trust, supplies }: Means, { log }: TunnelContext): (chain: Uint8Array[]) => void {
  const told = new Set<string>();
  return (chain) => {
    const { firstUse, fingerprint, warnings } = supplies.exclusively(() => trust.check(chain, server.host, server.port));
    if (firstUse) {
      const print = formatFingerprint(fingerprint);
      log.warn(
        { event: 'first_use', fingerprint: print },
        `the server ${formatAddress(server)} is new: its certificate ${print} is remembered from now on`,
      );
    }
    for (const warning of warnings) {
      if (supplies.speaks && !told.has(warning)) log.warn(warning);
      told.add(warning);
    }
  };
}

/** Resolves the server's name anew for each attempt, and takes its addresses in turn. */
function resolver({ host, port }: { host: string; port: number }): (signal: AbortSignal) => Promise<LinkTarget> {
  let attempt = 0;
  return async (signal) => {
    const addresses = await inTime(lookup(host === '' ? 'localhost' : host, { all: true }), signal).catch((cause: Error) => {
      if (signal.aborted) throw new QtunnelError('ABORTED', 'The attempt to connect was given up.');
      throw new QtunnelError(
        'NAME_NOT_FOUND',
        `The server's name ${host} does not resolve: check how it is written, and this machine's DNS.`,
        { cause },
      );
    });
    const { address } = addresses[attempt++ % addresses.length]!;
    return { host: address, port, serverName: host };
  };
}

/** What the system is asked for may never be answered, and cannot be called back. */
function inTime<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${LONGEST_LOOKUP / 1000} s`)), LONGEST_LOOKUP);
    const giveUp = (): void => reject(new Error('given up'));
    signal.addEventListener('abort', giveUp, { once: true });
    void answer.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', giveUp);
    });
  });
}

function uplinkLog(address: Address, { log, metrics, events }: TunnelContext): UplinkHandler {
  const server = formatAddress(address);
  /** Links that were lost and not replaced so far. */
  let missing = 0;
  const failures: Record<Transport, string> = { quic: '', tls: '' };
  return {
    onUp(link) {
      if (missing > 0) metrics.reconnected();
      missing = Math.max(0, missing - 1);
      failures[link.transport] = '';
      events.onLinkUp(link);
      const { rtt } = link.stats();
      const fields = { event: 'link_up', transport: link.transport, udp: link.udp, link: link.id, rtt };
      const by = link.udp === undefined ? '' : ` (UDP by ${link.udp})`;
      log.info(
        fields,
        `link to ${server} is up over ${NAMES[link.transport]}${by}, ${Number.isNaN(rtt) ? 'early data' : `RTT ${rtt.toFixed(1)} ms`}`,
      );
    },
    onStateChange(link) {
      const fields = { event: 'link_state', transport: link.transport, link: link.id, state: link.state };
      if (link.state === 'stalled') log.warn(fields, `nothing is heard from ${server} over ${NAMES[link.transport]}`);
      else log.info(fields, `${server} is heard again over ${NAMES[link.transport]}`);
    },
    onMove(link, local) {
      metrics.linkMoved();
      const fields = { event: 'link_moved', transport: link.transport, link: link.id, local };
      log.info(fields, `link to ${server} goes on from ${local}: this machine's address changed, or nothing came back`);
    },
    onEarlyData(link, taken) {
      metrics.earlyDataSent(taken);
      const fields = { event: 'early_data', transport: link.transport, link: link.id, taken };
      log.debug(fields, taken ? `${server} took the early data` : `${server} did not take the early data: it was sent again`);
    },
    onDown(transport, link, reason, retryIn) {
      if (link === null) metrics.handshakeFailed(reason.code);
      if (link === null) events.onAttemptFailed(transport, reason, retryIn);
      else events.onLinkDown(link, reason);
      if (link !== null) missing++;
      const event = link === null ? 'link_failed' : 'link_down';
      const fields = {
        event,
        transport,
        code: reason.code,
        reason: reason.message,
        retryIn,
        ...(link !== null && { link: link.id }),
      };
      const what = link === null ? `no link to ${server} over` : `link to ${server} is down over`;
      // The same failure again and again is said once.
      const repeated = link === null && failures[transport] === reason.message;
      failures[transport] = link === null ? reason.message : '';
      log[repeated ? 'debug' : 'warn'](fields, `${what} ${NAMES[transport]}: ${reason.message}`);
    },
    onRetired: (link, reason) => events.onLinkDown(link, reason),
    onClosed: (link) => metrics.linkClosed(link),
    onChoice(transport, { rtt, lossRate }) {
      const fields = { event: 'transport', transport, rtt, lossRate };
      const path = `RTT ${rtt.toFixed(1)} ms, ${(100 * lossRate).toFixed(2)} % lost`;
      log.info(fields, `new connections to ${server} go over ${NAMES[transport]}: ${path}`);
    },
  };
}

/** What is said of several servers. */
function choiceLog({ log }: TunnelContext): UplinksHandler {
  return {
    onServer(server, { rtt }) {
      log.info({ event: 'server', server, rtt }, `new connections go to ${server}, RTT ${rtt.toFixed(1)} ms`);
    },
    onMark(server, mark, holds) {
      const fields = { event: 'server_mark', server, mark, holds };
      if (holds) log.warn(fields, `${mark}: ${server} ${MARK_WORDS[mark]}`);
      else log.info(fields, `${mark} is over: ${server} is as it should be again`);
    },
  };
}

const MARK_WORDS: Record<ServerMark, string> = {
  NODE_UNSTABLE: 'was lost again and again, or its round-trip time goes up and down',
  NODE_HIGH_LATENCY: 'takes more than 250 ms to answer',
};
const NAMES: Record<Transport, string> = { quic: 'QUIC', tls: 'TLS' };

/** The settings that links are made with. */
const LINK_SETTINGS = [
  'backend',
  'otherServers',
  'quic',
  'fallback',
  'transport',
  'congestion',
  'blocks',
  'fec',
  'udp',
  'idleTimeout',
  'keepalive',
  'buffer',
  'earlyData',
] as const satisfies readonly (keyof RunningSettings)[];
/** Milliseconds; a resolver asks for 5 s, twice, by default (resolv.conf(5)). */
const LONGEST_LOOKUP = 10_000;
