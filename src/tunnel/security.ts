import type { Logger } from 'pino';
import { DEFAULT_BACKEND } from '../config/settings.ts';
import { loadClients, type LoadedClients } from '../identity/clients.ts';
import { keyring } from '../identity/keyring.ts';
import { hmacSha256, loadSecrets, stretchSecret } from '../identity/secret.ts';
import type { LinkAuth, LinkOptions, StrangerLimits } from '../link/options.ts';
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
  readonly clients: readonly (ClientRights & { readonly keys: readonly Uint8Array[] })[] | null;
}

/** The secrets, ready for proofs. @throws QtunnelError `FILE_UNREADABLE`, `SECRET_INVALID`, `CONFIG_INVALID`. */
export async function loadAuth(settings: RunningSettings, log: Logger): Promise<LoadedAuth> {
  const { secrets, warnings } = await loadSecrets(settings.secret, settings.secretFile);
  const named = await loadClients(settings.clients);
  for (const warning of [...warnings, ...(named?.warnings ?? []), ...uselessRights(settings, named?.clients ?? [])])
    log.warn(warning);
  const keys = await Promise.all(secrets.map(stretchSecret));
  const clients = named === null ? null : await Promise.all(named.clients.map(withKeys));
  return authOf({ secret: secrets[0] ?? null, keys, client: settings.clientName ?? '', clients });
}

export function authOf(known: AuthKeys): LoadedAuth {
  const { secret, keys, client, clients } = known;
  const theirs = clients === null ? null : new Map(clients.map((one) => [one.name, one.keys]));
  const auth = {
    hmac: hmacSha256,
    key: keys[0] ?? null,
    client,
    keysOf: keyring(keys, theirs),
    allKeys: { own: keys, named: (clients ?? []).flatMap((one) => one.keys) },
  };
  return { auth, given: secret, clients, keys: known };
}

async function withKeys({ name, backends, maxConnections, bandwidth, secrets }: LoadedClients['clients'][number]) {
  return { name, backends, maxConnections, bandwidth, keys: await Promise.all(secrets.map(stretchSecret)) };
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
