import type { ServerIdentity } from '../identity/server-identity.ts';
import type { LinkListener, LinkOptions, ServerKeys } from '../link/options.ts';
import type { Place } from '../protocol/place.ts';
import { loadQuic, type Quic } from '../quic/load.ts';
import { OWN_PORTS } from '../ports/ports.ts';
import { ROOM } from '../resources/room.ts';
import { authOf, type LoadedAuth } from '../tunnel/security.ts';
import type { SharedCount, Supplies } from '../tunnel/supplies.ts';
import { acceptTls, type TlsAcceptor } from '../tls/listen.ts';
import type { UdpOptions, UdpSocket } from '../udp/socket.ts';
import type { Preparation } from './messages.ts';
import { ChannelDirectory } from './channel-directory.ts';
import { loadSocketCalls } from '../ports/socket-calls.ts';
import type { Tally } from './tally.ts';

/** A tunnel in a worker gets what the main thread has loaded and opened for these settings: `preparation`, set before each `Tunnel.prepare`. */
export class WorkerSupplies implements Supplies {
  preparation: Preparation | null = null;
  readonly listen = OWN_PORTS.listen;
  readonly count: SharedCount;
  readonly room = ROOM;
  readonly parts: number;
  readonly speaks: boolean;
  readonly #place: Place;
  readonly #tally: Tally;
  readonly #onUdpClosed: (ear: number) => void;
  readonly #acceptors = new Map<number, TlsAcceptor>();

  constructor(place: Place, tally: Tally, client: boolean, onUdpClosed: (ear: number) => void) {
    this.#place = place;
    this.#tally = tally;
    this.parts = place.count;
    this.#onUdpClosed = onUdpClosed;
    this.count = client ? tally.accepted(place.index) : tally.streams(place.index);
    // Where it listens is said by the main thread; how a client judges its server by one worker for all.
    this.speaks = client && place.index === 0;
  }

  /** The listener that takes the TCP connections of this number; undefined when it is closed. */
  acceptor(ear: number): TlsAcceptor | undefined {
    return this.#acceptors.get(ear);
  }

  loadAuth(): Promise<LoadedAuth> {
    return Promise.resolve(authOf(this.#preparation.keys));
  }

  loadIdentity(): Promise<ServerIdentity> {
    return Promise.resolve(this.#preparation.identity!);
  }

  async loadQuic(): Promise<Quic> {
    const [{ connectQuic, prepareQuic, listenQuic }, { environmentFor }] = await Promise.all([
      loadQuic(),
      import('../quic/environment.ts'),
    ]);
    const place = this.#place;
    return {
      prepareQuic,
      connectQuic: (target, options, signal) => connectQuic(target, options, signal, { ...environmentFor(options.udp), place }),
      listenQuic: (_, keys, options) => {
        const environment = environmentFor(options.udp);
        const openUdp = (udp: UdpOptions): Promise<UdpSocket> => this.#adoptUdp(udp, environment.openUdp);
        const opened = this.#opened('udp');
        return listenQuic(opened.address, keys, options, { ...environment, openUdp, place: opened.place });
      },
    };
  }

  listenTls(_: unknown, keys: ServerKeys, options: LinkOptions): Promise<LinkListener> {
    const { ear, address } = this.#opened('tcp');
    const acceptor = acceptTls(address, keys, options, new ChannelDirectory(`qtunnel links of ${ear}`));
    const close = acceptor.close.bind(acceptor);
    acceptor.close = () => {
      this.#acceptors.delete(ear);
      return close();
    };
    this.#acceptors.set(ear, acceptor);
    return Promise.resolve(acceptor);
  }

  exclusively<T>(run: () => T): T {
    return this.#tally.exclusively(run);
  }

  async #adoptUdp(options: UdpOptions, open: (options: UdpOptions) => Promise<UdpSocket>): Promise<UdpSocket> {
    const { ear, fd } = this.#opened('udp');
    const socket = await open({ ...options, fd: loadSocketCalls()!.duplicate(fd) });
    const close = socket.close.bind(socket);
    let closed = false;
    socket.close = () => {
      if (closed) return;
      closed = true;
      close();
      this.#onUdpClosed(ear);
    };
    return socket;
  }

  #opened<Kind extends 'udp' | 'tcp'>(kind: Kind): NonNullable<Preparation['opened'][Kind]> {
    const opened = this.#preparation.opened[kind];
    if (opened === null) throw new Error(`a worker opens ${kind}, which the main thread did not`);
    return opened;
  }

  get #preparation(): Preparation {
    if (this.preparation === null) throw new Error('a worker has settings, but nothing that belongs to them');
    return this.preparation;
  }
}
