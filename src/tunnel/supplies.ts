import type { Logger } from 'pino';
import { loadServerIdentity, type ServerIdentity } from '../identity/server-identity.ts';
import type { LinkListener, LinkOptions, ServerKeys } from '../link/options.ts';
import { type Listen, OWN_PORTS, type Ports } from '../ports/ports.ts';
import { loadQuic, type Quic } from '../quic/load.ts';
import { ROOM, type Room } from '../resources/room.ts';
import { listenTls } from '../tls/listen.ts';
import type { OpenUdp } from '../udp/socket.ts';
import { type LoadedAuth, loadAuth } from './security.ts';
import type { RunningSettings } from './tunnel.ts';

/**
 * What a tunnel takes from its process besides its settings. A tunnel of the main thread loads and opens everything itself (`OWN`); one in a worker
 * gets what the main thread has loaded and opened for all workers (workers/worker-supplies.ts).
 */
export interface Supplies {
  loadAuth(settings: RunningSettings, log: Logger): Promise<LoadedAuth>;
  loadIdentity(settings: RunningSettings): Promise<ServerIdentity>;
  loadQuic(): Promise<Quic>;
  /** For a client's local port. */
  readonly listen: Listen;
  listenTls(
    address: { readonly host: string; readonly port: number },
    keys: ServerKeys,
    options: LinkOptions,
  ): Promise<LinkListener>;
  /** Where connections are counted when several workers share the limit; null for a tunnel that is alone. */
  readonly count: SharedCount | null;
  /** What the process has left. */
  readonly room: Room;
  /** In how many equal parts the tunnel runs; each has its part of a bandwidth. */
  readonly parts: number;
  /** Whether this tunnel says what concerns the process as a whole: where it listens, how the server is judged. */
  readonly speaks: boolean;
  /** Runs while no other worker of the tunnel runs anything in this way. */
  exclusively<T>(run: () => T): T;
}

/** The connections of one tunnel over all workers. */
export interface SharedCount {
  /** Claims a place for a connection; false when `most` are taken. */
  claim(most: number): boolean;
  release(): void;
}

export const OWN: Supplies = {
  loadAuth,
  loadIdentity: loadServerIdentity,
  loadQuic,
  listen: OWN_PORTS.listen,
  listenTls,
  count: null,
  room: ROOM,
  parts: 1,
  speaks: true,
  exclusively: (run) => run(),
};

/** The main thread's own, with these ports. */
export function suppliesWith(ports: Ports): Supplies {
  return {
    ...OWN,
    listen: ports.listen,
    listenTls: (address, keys, options) => {
      return listenTls(address, keys, options, { listen: ports.listen, directory: ports.linkDirectory() });
    },
    loadQuic: () => loadQuicWith(ports),
  };
}

async function loadQuicWith(ports: Ports): Promise<Quic> {
  const [quic, { environmentFor }] = await Promise.all([loadQuic(), import('../quic/environment.ts')]);
  return {
    ...quic,
    listenQuic: (address, keys, options) => {
      const environment = environmentFor(options.udp);
      const openUdp: OpenUdp = (udp) => ports.openUdp(udp, environment.openUdp);
      return quic.listenQuic(address, keys, options, { ...environment, openUdp, place: ports.place(0, 1) });
    },
  };
}
