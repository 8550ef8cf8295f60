import type net from 'node:net';
import { type ListenAddress, listenOn, type Ports } from '../ports/ports.ts';
import { bindDgram } from '../udp/bind.ts';
import type { LinkDirectory } from '../tls/listen.ts';
import { handleOf, stopReading } from '../udp/descriptor.ts';
import type { OpenUdp, UdpOptions, UdpSocket } from '../udp/socket.ts';
import { HandedLinks } from './handed-links.ts';
import type { FromChild, SocketHandle } from './messages.ts';

/** The ports of a supervised process: it goes on with the sockets of the one before, and has the supervisor keep its own for the one after. */
export class KeptPorts implements Ports {
  readonly links: HandedLinks;
  readonly #tell: (message: FromChild, handle?: object) => void;
  /** What the supervisor has kept, and has not been used yet. */
  readonly #given = new Map<string, SocketHandle>();
  readonly #used = new Set<string>();
  readonly #servers = new Set<net.Server>();
  #holding = false;

  constructor(tell: (message: FromChild, handle?: object) => void) {
    this.#tell = tell;
    this.links = new HandedLinks(tell);
  }

  /** Why they cannot be shared with another process; null when they can. */
  get obstacle(): string | null {
    return [...this.#used].some((key) => key.startsWith('udp')) ? 'two processes cannot share its UDP port' : null;
  }

  /** Names of the sockets in use. */
  get keys(): readonly string[] {
    return [...this.#used];
  }

  give(key: string, socket: SocketHandle): void {
    this.#given.set(key, socket);
  }

  /** From now on sockets are closed because the process ends, which is no reason to give their ports up. */
  hold(): void {
    this.#holding = true;
  }

  /** Another process accepts from now on. */
  retire(): void {
    this.hold();
    for (const server of this.#servers) server.close();
  }

  readonly listen = async (server: net.Server, address: ListenAddress): Promise<void> => {
    const key = this.#nameFor('tcp', address);
    const given = this.#take(key);
    await listenOn(server, address, given);
    if (given === undefined) this.#keep(key, handleOfServer(server));
    this.#used.add(key);
    this.#servers.add(server);
    const close = this.#released(key, server.close.bind(server));
    server.close = (then) => {
      this.#servers.delete(server);
      return close(then);
    };
  };

  linkDirectory(): LinkDirectory {
    return this.links.directory();
  }

  async openUdp(options: UdpOptions, open: OpenUdp): Promise<UdpSocket> {
    const key = this.#nameFor('udp', options.bind);
    const handle = this.#take(key) ?? (await this.#bind(key, options));
    const socket = await open({ ...options, fd: handle.fd });
    this.#used.add(key);
    socket.close = this.#released(key, socket.close.bind(socket));
    return socket;
  }

  /** Node's socket is only there to be bound. It keeps its descriptor, which the other one closes. */
  async #bind(key: string, options: UdpOptions): Promise<SocketHandle> {
    const socket = await bindDgram(options);
    const handle = handleOf(socket) as unknown as SocketHandle;
    stopReading(socket);
    this.#keep(key, handle);
    return handle;
  }

  #keep(key: string, handle: object): void {
    this.#tell({ type: 'keep', key }, handle);
  }

  #released<Values extends unknown[], Result>(key: string, close: (...values: Values) => Result): (...values: Values) => Result {
    return (...values) => {
      if (this.#used.delete(key) && !this.#holding) this.#tell({ type: 'release', key });
      return close(...values);
    };
  }

  #take(key: string): SocketHandle | undefined {
    const given = this.#given.get(key);
    this.#given.delete(key);
    return given;
  }

  /** Several may ask for any port of the same address: the order in which they come tells them apart. */
  #nameFor(protocol: string, { host, port }: { host: string; port: number }): string {
    const name = `${protocol} ${host} ${port}`;
    for (let number = 1; ; number++) {
      const key = number === 1 ? name : `${name} ${number}`;
      if (!this.#used.has(key)) return key;
    }
  }
}

/** Node passes a whole server as one that accepts at the other end, too; this is the socket alone. */
function handleOfServer(server: net.Server): object {
  return (server as unknown as Record<typeof HANDLE, object>)[HANDLE];
}

const HANDLE = '_handle';
