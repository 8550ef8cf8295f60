import type { Logger } from 'pino';
import { keyring } from '../identity/keyring.ts';
import { hmacSha256, loadSecrets, stretchSecret } from '../identity/secret.ts';
import type { LinkAuth, LinkOptions } from '../link/options.ts';
import { VERSION } from '../version.ts';
import type { RunningSettings } from './tunnel.ts';

export interface LoadedAuth {
  readonly auth: LinkAuth;
  /** The secret itself; null without one. */
  readonly given: string | null;
  readonly keys: AuthKeys;
}

/** What there is to know about secrets, as one thread tells another. */
export interface AuthKeys {
  readonly secret: string | null;
  /** Of the secrets, stretched, in their order. */
  readonly keys: readonly Uint8Array[];
}

/** The secret, ready for proofs. @throws QtunnelError `FILE_UNREADABLE`, `SECRET_INVALID`. */
export async function loadAuth(settings: RunningSettings, log: Logger): Promise<LoadedAuth> {
  const { secrets, warnings } = await loadSecrets(settings.secret, settings.secretFile);
  for (const warning of warnings) log.warn(warning);
  return authOf({ secret: secrets[0] ?? null, keys: await Promise.all(secrets.map(stretchSecret)) });
}

export function authOf(known: AuthKeys): LoadedAuth {
  const { secret, keys } = known;
  return { auth: { hmac: hmacSha256, key: keys[0] ?? null, keysOf: keyring(keys) }, given: secret, keys: known };
}

export function linkOptions(settings: RunningSettings, auth: LinkAuth): LinkOptions {
  const { keepalive, idleTimeout, buffer, maxConnections, proxyProtocol } = settings;
  return {
    auth,
    keepalive,
    idleTimeout,
    buffer,
    maxStreams: maxConnections,
    wantsEndpoints: proxyProtocol,
    software: `qtunnel ${VERSION}`,
  };
}
