import { QtunnelError } from '../errors.ts';
import { batchUdp } from './batch.ts';
import { openDgram } from './dgram.ts';
import type { OpenUdp } from './socket.ts';

/** Ways to use UDP: `batch` is Linux's system calls for many datagrams at once, `dgram` is Node's own, `auto` the fastest that there is. */
export type UdpKind = 'auto' | 'dgram' | 'batch';

/** How UDP sockets are opened. @throws QtunnelError `QUIC_UNAVAILABLE` when this machine does not have that way. */
export function openUdpBy(kind: UdpKind): OpenUdp {
  if (kind === 'dgram') return openDgram;
  const batch = batchUdp();
  if (batch === null && kind === 'batch') {
    throw new QtunnelError('QUIC_UNAVAILABLE', 'UDP in batches needs Linux and the optional package koffi; leave -udp at auto.');
  }
  return batch ?? openDgram;
}
