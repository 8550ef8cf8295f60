import { watchAddresses } from '../udp/address-watch.ts';
import { openUdpBy, type UdpKind } from '../udp/open.ts';
import type { OpenUdp } from '../udp/socket.ts';
import type { Place } from '../protocol/place.ts';
import { type Clock, systemClock } from './clock.ts';

/** What the driver takes from the machine; tests put a network and a clock of their own in its place. */
export interface QuicEnvironment {
  readonly openUdp: OpenUdp;
  readonly clock: Clock;
  /** Calls back when the machine's addresses have changed, until the function that it returns is called. Left out where nobody looks. */
  readonly watchAddresses?: (onChange: () => void) => () => void;
  /** Seconds since 1970, by a clock that somebody may set. */
  readonly date: () => number;
  /** The worker that this is; left out when there is one thread. */
  readonly place?: Place;
}

/** The machine's own. @throws QtunnelError `QUIC_UNAVAILABLE`; see `openUdpBy`. */
export function environmentFor(udp: UdpKind): QuicEnvironment {
  return { openUdp: openUdpBy(udp), clock: systemClock, watchAddresses, date: () => Math.floor(Date.now() / 1000) };
}
