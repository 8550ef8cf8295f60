import type net from 'node:net';
import { loadSocketCalls, type SocketCalls } from '../ports/socket-calls.ts';
import { adoptUdpGroup, openUdpGroup, steer, type UdpGroup } from '../ports/udp-group.ts';
import type { Place } from '../protocol/place.ts';
import { type ListenAddress, listenOn, type Ports } from '../ports/ports.ts';
import { bindDgram, closeQuietly } from '../udp/bind.ts';
import type { LinkDirectory } from '../tls/listen.ts';
import { handleOf, stopReading } from '../udp/descriptor.ts';
import type { OpenUdp, UdpAddress, UdpOptions, UdpSocket } from '../udp/socket.ts';
import { HandedLinks } from './handed-links.ts';
import type { FromChild, Generation, SocketHandle, ToChild } from './messages.ts';

/** The ports of a supervised process: it goes on with the sockets of the one before, and has the supervisor keep its own for the one after. */
export class KeptPorts implements Ports {
  readonly links: HandedLinks;
  readonly #tell: Tell;
  /** What the supervisor has kept, and has not been used yet. */
  readonly #given = new Map<string, SocketHandle>();
  /** The sockets in use, with the names that they have for the supervisor. */
  readonly #used = new Map<string, readonly string[]>();
  /** Tell the kernel anew who gets what. */
  readonly #steered = new Set<() => void>();
  readonly #servers = new Set<net.Server>();
  readonly #calls = loadSocketCalls();
  #generation: Generation = 0;
  #shares = false;
  #holding = false;

  constructor(tell: Tell) {
    this.#tell = tell;
    this.links = new HandedLinks(tell);
  }

  /** Why they cannot be shared with another process; null when they can. */
  get obstacle(): string | null {
    const hasUdp = [...this.#used.keys()].some((key) => key.startsWith('udp'));
    return hasUdp && this.#calls === null
      ? 'two processes cannot share its UDP port, which needs Linux and the package koffi'
      : null;
  }

  /** Names of the sockets in use. */
  get keys(): readonly string[] {
    return [...this.#used.values()].flat();
  }

  /** Before anything is opened. */
  begin({ generation, shares }: Pick<Begin, 'generation' | 'shares'>): void {
    this.#generation = generation;
    this.#shares = shares;
  }

  /** The other process is gone: everything is for this one. */
  handleAlone(): void {
    this.#shares = false;
    for (const steerIt of this.#steered) steerIt();
    this.links.forgetOthers();
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
    this.#used.set(key, [key]);
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

  /** One socket, or two where two processes can share a port: one for this process and one for its successor. */
  async openUdp(options: UdpOptions, open: OpenUdp): Promise<UdpSocket> {
    if (this.#calls === null) return await this.#openAlone(options, open);
    const group = await this.openUdpGroup(options.bind, 1, this.#calls);
    try {
      const socket = await open({ ...options, fd: this.#calls.duplicate(group.descriptors[0]!) });
      const close = socket.close.bind(socket);
      socket.close = () => {
        close();
        group.close();
      };
      return socket;
    } catch (error) {
      group.close();
      throw error;
    }
  }

  async openUdpGroup(bind: UdpAddress, workers: number, calls: SocketCalls): Promise<UdpGroup> {
    const name = this.#nameFor('udp', bind);
    const count = 2 * workers;
    const keys = Array.from({ length: count }, (_, index) => `${name} ${index}/${count}`);
    const whole = await this.#takeGroup(keys, bind, calls);
    const steerIt = (): void => steer(whole, { workers, first: this.#generation * workers, shared: this.#shares }, calls);
    this.#used.set(name, keys);
    const close = this.#released(name, whole.close);
    try {
      steerIt();
    } catch (error) {
      close();
      throw error;
    }
    this.#steered.add(steerIt);
    const descriptors = whole.descriptors.slice(this.#generation * workers, (this.#generation + 1) * workers);
    return {
      address: whole.address,
      descriptors,
      close: () => {
        this.#steered.delete(steerIt);
        close();
      },
    };
  }

  place(worker: number, workers: number): Place {
    if (this.#calls === null) return { index: worker, count: workers };
    return { index: this.#generation * workers + worker, count: 2 * workers };
  }

  async #takeGroup(keys: readonly string[], bind: UdpAddress, calls: SocketCalls): Promise<UdpGroup> {
    const given = keys.map((key) => this.#take(key)).filter((handle) => handle !== undefined);
    if (given.length === keys.length) {
      const descriptors = given.map(({ fd }) => calls.duplicate(fd));
      for (const handle of given) handle.close();
      return await adoptUdpGroup(descriptors, calls);
    }
    const group = await openUdpGroup(bind, keys.length, calls);
    try {
      for (const [index, key] of keys.entries()) await this.#keepDescriptor(key, group.descriptors[index]!, calls);
      return group;
    } catch (error) {
      group.close();
      for (const key of keys) this.#tell({ type: 'release', key });
      throw error;
    }
  }

  /** Node sends no bare descriptors. */
  async #keepDescriptor(key: string, fd: number, calls: SocketCalls): Promise<void> {
    const socket = await bindDgram({ bind: { host: '', port: 0 }, fd: calls.duplicate(fd) });
    stopReading(socket);
    this.#tell({ type: 'keep', key }, handleOf(socket), () => closeQuietly(socket));
  }

  async #openAlone(options: UdpOptions, open: OpenUdp): Promise<UdpSocket> {
    const key = this.#nameFor('udp', options.bind);
    const handle = this.#take(key) ?? (await this.#bind(key, options));
    try {
      const socket = await open({ ...options, fd: handle.fd });
      this.#used.set(key, [key]);
      socket.close = this.#released(key, socket.close.bind(socket));
      return socket;
    } catch (error) {
      handle.close();
      this.#tell({ type: 'release', key });
      throw error;
    }
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
      const names = this.#used.get(key) ?? [];
      this.#used.delete(key);
      for (const name of this.#holding ? [] : names) this.#tell({ type: 'release', key: name });
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

/** `then` is called when a socket that goes with it has gone. */
export type Tell = (message: FromChild, handle?: object, then?: () => void) => void;

type Begin = Extract<ToChild, { type: 'begin' }>;

/** Node passes a whole server as one that accepts at the other end, too; this is the socket alone. */
function handleOfServer(server: net.Server): object {
  return (server as unknown as Record<typeof HANDLE, object>)[HANDLE];
}

const HANDLE = '_handle';
