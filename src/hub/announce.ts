import type { Logger } from 'pino';
import type { TunnelSettings } from '../config/settings.ts';
import { formatFingerprint } from '../identity/fingerprint.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import { formatAddress } from '../link/address.ts';
import type { Listeners } from '../tunnel/listeners.ts';
import type { LoadedAuth } from '../tunnel/security.ts';
import { credentialsFor } from '../tunnel/server.ts';
import { formatPorts } from './port-range.ts';
import type { HubSettings } from './settings.ts';

/** Says where a hub listens, what its certificate is, and how an agent reaches it. */
export function announceHub(
  log: Logger,
  { ports }: HubSettings,
  _tunnel: TunnelSettings,
  identity: ServerIdentity,
  { udp, tcp, address }: Listeners,
  auth: LoadedAuth,
): void {
  const fingerprint = formatFingerprint(identity.fingerprint);
  const fields = {
    event: 'listening',
    ...(udp !== null && { udp: formatAddress(udp) }),
    ...(tcp !== null && { tcp: formatAddress(tcp) }),
    ports: formatPorts(ports),
    fingerprint,
  };
  const ears = [...(udp === null ? [] : [`UDP ${formatAddress(udp)}`]), ...(tcp === null ? [] : [`TCP ${formatAddress(tcp)}`])];
  log.info(fields, `listening for agents on ${ears.join(' and ')}, public ports ${formatPorts(ports)}`);
  log.info({ event: 'fingerprint' }, `certificate ${fingerprint}`);
  const reachable = ['', '::', '0.0.0.0'].includes(address.host) ? 'THIS-HOST' : address.host;
  const server = formatAddress({ host: reachable, port: address.port });
  const command = `qtunnel agent -server=${server} ${credentialsFor(auth, identity)}`;
  log.info({ event: 'client_command' }, `on the inside: ${command}`);
  if (auth.given === null && auth.clients === null && auth.keys.authorities === null)
    log.warn('no -secret: whoever reaches this port can be an agent, and open public ports');
}
