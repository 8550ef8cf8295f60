import type { Socket } from 'node:net';
import type { Link } from '../link/link.ts';
import { encodeEndpoints, type Endpoints } from '../protocol/proxy-protocol.ts';

/**
 * What a stream of this link says of the connection that it carries. Asking the kernel costs, and the addresses say who uses the tunnel: null unless the peer needs
 * them, and when the connection is gone.
 */
export function endpointsFor(link: Link, socket: Socket): Endpoints | null {
  if (link.wantsEndpoints !== true) return null;
  const { remoteAddress, remotePort = 0, localAddress, localPort = 0 } = socket;
  if (remoteAddress === undefined || localAddress === undefined) return null;
  return encodeEndpoints({ host: remoteAddress, port: remotePort }, { host: localAddress, port: localPort });
}
