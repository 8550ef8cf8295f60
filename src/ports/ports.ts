import type net from 'node:net';
import type { LinkDirectory } from '../tls/listen.ts';
import type { Place } from '../protocol/place.ts';
import type { OpenUdp, UdpAddress, UdpOptions, UdpSocket } from '../udp/socket.ts';
import type { SocketCalls } from './socket-calls.ts';
import { openUdpGroup, steer, type UdpGroup } from './udp-group.ts';

/** How a process comes to its listening sockets. Those of a supervised one outlive it (supervise/kept-ports.ts). */
export interface Ports {
  readonly listen: Listen;
  /** Opens a server's UDP socket; `open` is the way that the settings ask for. @throws as `open`. */
  openUdp(options: UdpOptions, open: OpenUdp): Promise<UdpSocket>;
  /** Opens a UDP port with a socket for each worker, to which the kernel gives what concerns it. @throws QtunnelError `LISTEN_FAILED`. */
  openUdpGroup(bind: UdpAddress, workers: number, calls: SocketCalls): Promise<UdpGroup>;
  /** What the connection ids of a worker say. */
  place(worker: number, workers: number): Place;
  /** For a listener over TLS whose port another process shares at times; null when none does. */
  linkDirectory(): LinkDirectory | null;
}

/** Has `server` listen. Rejects with the system's error. */
export type Listen = (server: net.Server, address: ListenAddress) => Promise<void>;

export interface ListenAddress {
  /** A name or an address; '' for all. */
  readonly host: string;
  readonly port: number;
  /** The kernel cuts it to net.core.somaxconn. */
  readonly backlog?: number;
}

export const OWN_PORTS: Ports = {
  listen: (server, address) => listenOn(server, address),
  openUdp: (options, open) => open(options),
  openUdpGroup: async (bind, workers, calls) => {
    const group = await openUdpGroup(bind, workers, calls);
    try {
      steer(group, { workers, first: 0, shared: false }, calls);
      return group;
    } catch (error) {
      group.close();
      throw error;
    }
  },
  place: (index, count) => ({ index, count }),
  linkDirectory: () => null,
};

/** @param socket one that is bound already, as Node holds it; in the place of a new one. */
export function listenOn(server: net.Server, { host, port, backlog }: ListenAddress, socket?: object): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const done = (): void => {
      server.off('error', reject);
      resolve();
    };
    if (socket !== undefined) server.listen(socket, backlog, done);
    else server.listen({ port, ...(host !== '' && { host }), ...(backlog !== undefined && { backlog }) }, done);
  });
}
