import type { Logger } from 'pino';
import { DEFAULT_BACKEND } from '../config/settings.ts';
import { loadAuthorities } from '../identity/authorities.ts';
import { clientJudge } from '../identity/client-certificates.ts';
import { loadClientIdentity } from '../identity/client-identity.ts';
import { loadClients, type LoadedClients } from '../identity/clients.ts';
import { keyring } from '../identity/keyring.ts';
import { hmacSha256, loadSecrets, stretchSecret } from '../identity/secret.ts';
import type { ClientKeys, LinkAuth, LinkOptions, StrangerLimits } from '../link/options.ts';
import { VERSION } from '../version.ts';
import type { ClientRights } from './accounts.ts';
import type { RunningSettings } from './tunnel.ts';

export interface LoadedAuth {
  readonly auth: LinkAuth;
  /** The secret itself; null without one. */
  readonly given: string | null;
  /** A server: the rights of its named clients; null without any. */
  readonly clients: readonly ClientRights[] | null;
  readonly keys: AuthKeys;
}

/** What there is to know about secrets, as one thread tells another. */
export interface AuthKeys {
  readonly secret: string | null;
  /** Of the secrets, stretched, in their order. */
  readonly keys: readonly Uint8Array[];
  /** A client's name; empty without one. */
  readonly client: string;
  readonly clients:
    | readonly (ClientRights & { readonly keys: readonly Uint8Array[]; readonly fingerprints: readonly string[] })[]
    | null;
  /** PEM of `-client-ca`; null without it. */
  readonly authorities: readonly string[] | null;
  /** What a client shows; null without a certificate. */
  readonly certificate: ClientKeys | null;
}

/** The secrets, ready for proofs, and what there is of certificates of clients. @throws QtunnelError as what it loads. */
export async function loadAuth(settings: RunningSettings, log: Logger): Promise<LoadedAuth> {
  const { secrets, warnings } = await loadSecrets(settings.secret, settings.secretFile);
  const named = await loadClients(settings.clients);
  const identity = settings.clientmode ? await loadClientIdentity(settings.certFile, settings.keyFile) : null;
  const loaded = [...warnings, ...(named?.warnings ?? []), ...(identity?.warnings ?? [])];
  for (const warning of [...loaded, ...uselessRights(settings, named?.clients ?? [])]) log.warn(warning);
  const keys = await Promise.all(secrets.map(stretchSecret));
  const clients = named === null ? null : await Promise.all(named.clients.map(withKeys));
  const authorities = settings.clientCa === null ? null : await loadAuthorities(settings.clientCa);
  return authOf({
    secret: secrets[0] ?? null,
    keys,
    client: settings.clientName ?? '',
    clients,
    authorities: authorities?.certificates.map(String) ?? null,
    certificate: identity?.keys ?? null,
  });
}

export function authOf(known: AuthKeys): LoadedAuth {
  const { secret, keys, client, clients, authorities, certificate } = known;
  const theirs = clients === null ? null : new Map(clients.map((one) => [one.name, one.keys]));
  const auth = {
    hmac: hmacSha256,
    key: keys[0] ?? null,
    client,
    keysOf: keyring(keys, theirs),
    allKeys: { own: keys, named: (clients ?? []).flatMap((one) => one.keys) },
    isOpen: keys.length === 0 && (clients?.some((one) => one.keys.length === 0) ?? true),
    judgeClient: clientJudge({ clients: clients ?? [], authorities }),
    certificate,
  };
  return { auth, given: secret, clients, keys: known };
}

async function withKeys({
  secrets,
  name,
  fingerprints,
  backends,
  maxConnections,
  bandwidth,
  ports,
}: LoadedClients['clients'][number]) {
  const keys = await Promise.all(secrets.map(stretchSecret));
  return { name, backends, maxConnections, bandwidth, ports, fingerprints: fingerprints ?? [], keys };
}

function uselessRights({ backends }: RunningSettings, clients: readonly ClientRights[]): string[] {
  return clients.flatMap((client) =>
    (client.backends ?? [])
      .filter((backend) => backend !== DEFAULT_BACKEND && !Object.hasOwn(backends, backend))
      .map((backend) => `-clients: ${client.name} may reach the backend ${backend}, which -backend does not have`),
  );
}

/** Who has another server to go to wants to know soon that this one is gone; who has not gives it time. */
function watchfulness({ keepalive, otherServers }: RunningSettings): Pick<LinkOptions, 'keepalive' | 'stall'> {
  if (otherServers.length === 0) return { keepalive };
  return { keepalive: Math.min(keepalive, FAILOVER.keepalive), stall: FAILOVER.stall };
}

export function linkOptions(settings: RunningSettings, auth: LinkAuth): LinkOptions {
  const { idleTimeout, buffer, maxConnections, proxyProtocol } = settings;
  return {
    auth,
    ...watchfulness(settings),
    idleTimeout,
    buffer,
    maxStreams: maxConnections,
    wantsEndpoints: proxyProtocol,
    software: `qtunnel ${VERSION}`,
    strangers: strangerLimits(settings),
  };
}

function strangerLimits(settings: RunningSettings): StrangerLimits {
  const { maxHandshakes, maxHandshakesPerSource, attemptsPerSource } = settings;
  return {
    timeout: settings.handshakeTimeout,
    bytes: settings.handshakeBytes,
    datagrams: settings.handshakeDatagrams,
    retryAbove: settings.retryAbove,
    maxHandshakes,
    maxHandshakesPerSource,
    attemptsPerSource,
  };
}

/** Milliseconds: together less than a second. */
const FAILOVER = { keepalive: 250, stall: 600 };
