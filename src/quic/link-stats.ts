import type { LinkStats } from '../link/link.ts';
import type { QuicConnection } from './connection.ts';

/** What is known of a connection's path, by the blocks' own measurements where there are any, and what it has sent. */
export function statsOf(connection: QuicConnection, datagramsDropped: number): LinkStats {
  const { sent, lost, sentBytes, recvBytes } = connection.count();
  const { path } = connection;
  const delivery = connection.packetizer.path;
  return {
    // What quiche says before it has measured one is made up.
    rtt: delivery?.rtt ?? (connection.established ? path?.rtt : undefined) ?? Number.NaN,
    congestionWindow: delivery?.window ?? path?.cwnd ?? Number.NaN,
    packetsSent: delivery?.sent ?? sent,
    packetsLost: delivery?.lost ?? lost,
    paritySent: delivery?.parity ?? 0,
    shardsRestored: delivery?.restored ?? 0,
    datagramsDropped,
    bytesSent: sentBytes,
    bytesReceived: recvBytes,
    deliveryRate: delivery?.deliveryRate ?? path?.deliveryRate ?? Number.NaN,
  };
}
