import type { Logger } from 'pino';
import { hmacSha256, loadSecret, stretchSecret } from '../identity/secret.ts';
import type { LinkAuth, LinkOptions } from '../link/options.ts';
import { VERSION } from '../version.ts';
import type { RunningSettings } from './tunnel.ts';

export interface LoadedAuth {
  readonly auth: LinkAuth;
  /** The secret itself; null without one. */
  readonly given: string | null;
}

/** The secret, ready for proofs. @throws QtunnelError `FILE_UNREADABLE`, `SECRET_INVALID`. */
export async function loadAuth(settings: RunningSettings, log: Logger): Promise<LoadedAuth> {
  const { secret, warnings } = await loadSecret(settings.secret, settings.secretFile);
  for (const warning of warnings) log.warn(warning);
  const key = secret === null ? null : await stretchSecret(secret);
  return { auth: { hmac: hmacSha256, key }, given: secret };
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
