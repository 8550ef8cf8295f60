import { QtunnelError } from '../../src/errors.ts';
import type { OpenUdp, UdpAddress, UdpHandler, UdpSocket } from '../../src/udp/socket.ts';
import type { FakeClock } from './fake-clock.ts';
import { seededRandom } from './random.ts';

/** What one direction of the network does to datagrams. Shares are numbers from 0 to 1. */
export interface Conditions {
  /** Milliseconds on the way, and up to how many more, evenly spread (so `jitter` reorders). */
  delay: number;
  jitter: number;
  /** Share of datagrams lost, in bursts of `burst` on average. */
  loss: number;
  burst: number;
  duplicate: number;
  /** Share of datagrams that are kept back for `REORDER_BY` ms, so that others overtake them. */
  reorder: number;
  /** Share of datagrams of which one byte is changed. */
  corrupt: number;
  /** Bytes per second, and how many bytes wait for their turn before further ones are dropped. */
  rate: number;
  queue: number;
  /** Larger datagrams vanish. */
  mtu: number;
  down: boolean;
}

/**
 * UDP in memory, on a FakeClock: everything random about it comes from `seed`. Sockets that are connected are clients and send over `up`; the
 * others are servers and send over `down`. All of them live at 127.0.0.1; clients behind a NAT whose outer ports `rebind` changes.
 */
export class MemoryNetwork {
  readonly up: Direction;
  readonly down: Direction;
  /** All clients so far, oldest first. */
  readonly clients: MemorySocket[] = [];
  /** Whether a datagram to a port where nobody listens is answered as a real machine does. */
  icmp = true;
  /** Whether sockets say that datagrams are not cut into fragments on the way, so that the MTU is probed. */
  keepsWhole = false;
  /** Whether no socket can be opened, as by a process without descriptors. */
  isOutOfSockets = false;
  /** The local address of clients' sockets that are opened from now on. */
  clientHost = HOST;
  /** Sees each datagram that a socket sends. */
  onSend: (bytes: Uint8Array, from: MemorySocket, to: UdpAddress) => void = () => {};
  /** Loses the datagrams that this is true of; asked after `onSend`. */
  loses: (bytes: Uint8Array, from: MemorySocket) => boolean = () => false;
  readonly clock: FakeClock;
  /** Who gets what is sent to a port. */
  readonly #ports = new Map<number, MemorySocket>();
  readonly #addresses = new Map<number, UdpAddress>();
  #nextPort = 40_000;

  constructor(clock: FakeClock, seed = 1, conditions: Partial<Conditions> = {}) {
    this.clock = clock;
    this.up = new Direction(clock, seededRandom(seed), conditions);
    this.down = new Direction(clock, seededRandom(seed + 0x9e3779b9), conditions);
  }

  readonly open: OpenUdp = ({ bind, connect }) => {
    if (this.isOutOfSockets) return Promise.reject(new QtunnelError('LINK_REFUSED', 'Cannot send UDP (EMFILE).'));
    const port = bind.port === 0 ? this.#nextPort++ : bind.port;
    if (this.#ports.has(port)) return Promise.reject(new QtunnelError('LISTEN_FAILED', `Port ${port} is taken.`));
    const socket = new MemorySocket(this, port, connect !== undefined);
    this.#ports.set(port, socket);
    if (connect !== undefined) this.clients.push(socket);
    return Promise.resolve(socket);
  };

  set(conditions: Partial<Conditions>): void {
    Object.assign(this.up.conditions, conditions);
    Object.assign(this.down.conditions, conditions);
  }

  /** Gives a client another outer port, as a NAT does that has forgotten it: what is sent to the old one is lost. */
  rebind(client: MemorySocket): void {
    this.#ports.delete(client.outerPort);
    client.outerPort = this.#nextPort++;
    this.#ports.set(client.outerPort, client);
  }

  /** Who has the port. */
  readonly server = (port: number): MemorySocket | null => this.#ports.get(port) ?? null;

  /** Whoever has the port is gone, as a process that was killed is. */
  vacate(port: number): void {
    this.#ports.get(port)?.close();
  }

  forget(socket: MemorySocket): void {
    if (this.#ports.get(socket.outerPort) === socket) this.#ports.delete(socket.outerPort);
  }

  carry(datagram: Uint8Array, from: MemorySocket, to: UdpAddress): void {
    this.onSend(datagram, from, to);
    if (this.loses(datagram, from)) return;
    const direction = from.isClient ? this.up : this.down;
    const sender = this.#address(from.outerPort);
    direction.carry(datagram, (arrived) => {
      const receiver = this.#ports.get(to.port);
      if (receiver !== undefined) receiver.deliver(arrived, sender);
      else if (this.icmp && from.isClient) from.handler.onError(new QtunnelError('LINK_REFUSED', 'Nothing listens there.'));
    });
  }

  /** One object for one address, as UdpSocket promises. */
  #address(port: number): UdpAddress {
    let address = this.#addresses.get(port);
    if (address === undefined) this.#addresses.set(port, (address = { host: HOST, port }));
    return address;
  }
}

/** One direction, with the same conditions for all who use it. */
export class Direction {
  readonly conditions: Conditions;
  sent = 0;
  sentBytes = 0;
  delivered = 0;
  readonly #clock: FakeClock;
  readonly #random: () => number;
  #inBurst = false;
  #busyUntil = 0;

  constructor(clock: FakeClock, random: () => number, conditions: Partial<Conditions>) {
    this.#clock = clock;
    this.#random = random;
    this.conditions = { ...PERFECT, ...conditions };
  }

  carry(datagram: Uint8Array, arrive: (datagram: Uint8Array) => void): void {
    const { down, mtu, duplicate } = this.conditions;
    this.sent++;
    this.sentBytes += datagram.length;
    if (down || datagram.length > mtu || this.#isLost()) return;
    const queued = this.#queue(datagram.length);
    if (queued === null) return;
    for (let copies = this.#happens(duplicate) ? 2 : 1; copies > 0; copies--) this.#send(datagram, queued, arrive);
  }

  #send(datagram: Uint8Array, queued: number, arrive: (datagram: Uint8Array) => void): void {
    const { delay, jitter, reorder, corrupt } = this.conditions;
    const bytes = Uint8Array.from(datagram);
    if (this.#happens(corrupt)) bytes[Math.floor(this.#random() * bytes.length)]! ^= 1 << Math.floor(this.#random() * 8);
    const late = this.#happens(reorder) ? REORDER_BY : 0;
    this.#clock.deliverAfter(queued + delay + late + (jitter > 0 ? this.#random() * jitter : 0), () => {
      this.delivered++;
      arrive(bytes);
    });
  }

  /** Milliseconds until the datagram has left the queue; null when the queue is full. */
  #queue(length: number): number | null {
    const { rate, queue } = this.conditions;
    if (rate === Infinity) return 0;
    const now = this.#clock.now();
    const start = Math.max(now, this.#busyUntil);
    if (((start - now) / 1000) * rate + length > queue) return null;
    this.#busyUntil = start + (length / rate) * 1000;
    return this.#busyUntil - now;
  }

  /** Gilbert's model: a burst ends with probability 1 / burst, and begins so often that `loss` comes out. */
  #isLost(): boolean {
    const { loss, burst } = this.conditions;
    if (loss === 0) return false;
    if (loss === 1) return true;
    this.#inBurst = this.#inBurst ? this.#random() >= 1 / burst : this.#random() < loss / (burst * (1 - loss));
    return this.#inBurst;
  }

  #happens(share: number): boolean {
    return share > 0 && this.#random() < share;
  }
}

/** As hard on its users as the interface allows: buffers are overwritten as soon as they may be. */
export class MemorySocket implements UdpSocket {
  readonly address: UdpAddress;
  readonly isClient: boolean;
  outerPort: number;
  readonly kind = 'memory';
  readonly keepsWhole: boolean;
  sendBuffer: Uint8Array = new Uint8Array(SEND_BUFFER);
  handler: UdpHandler = IGNORE;
  /** What becomes of it when its interface dies: datagrams vanish, or the system refuses to send. */
  fate: 'works' | 'silent' | 'refused' = 'works';
  readonly #network: MemoryNetwork;
  #spare: Uint8Array = new Uint8Array(SEND_BUFFER);
  #closed = false;

  constructor(network: MemoryNetwork, port: number, isClient: boolean) {
    this.#network = network;
    this.isClient = isClient;
    this.keepsWhole = network.keepsWhole;
    this.outerPort = port;
    this.address = { host: isClient ? network.clientHost : HOST, port };
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(length: number, segment: number, to: UdpAddress): void {
    if (this.#closed) return;
    if (this.fate === 'refused') this.handler.onError(new QtunnelError('LINK_LOST', 'The network is unreachable.'));
    const sent = this.sendBuffer;
    for (let at = 0; at < length; at += segment) {
      if (this.fate === 'works') this.#network.carry(sent.slice(at, Math.min(at + segment, length)), this, to);
    }
    this.sendBuffer = this.#spare;
    this.#spare = sent.fill(GARBAGE, 0, length);
  }

  deliver(datagram: Uint8Array, from: UdpAddress): void {
    if (this.#closed || this.fate !== 'works') return;
    const input = new Uint8Array(datagram.length + 2 * PADDING).fill(GARBAGE);
    input.set(datagram, PADDING);
    this.handler.onDatagram(input, PADDING, datagram.length, from);
    input.fill(GARBAGE);
  }

  close(): void {
    this.#closed = true;
    this.handler = IGNORE;
    this.#network.forget(this);
  }
}

const PERFECT: Conditions = {
  delay: 1,
  jitter: 0,
  loss: 0,
  burst: 1,
  duplicate: 0,
  reorder: 0,
  corrupt: 0,
  rate: Infinity,
  queue: Infinity,
  mtu: 65_527,
  down: false,
};
class Ignore {
  onDatagram(): void {}
  onError(): void {}
}
const IGNORE = new Ignore();
const HOST = '127.0.0.1';
const SEND_BUFFER = 65_536;
const PADDING = 7;
const GARBAGE = 0xee;
/** Milliseconds: dozens of datagrams overtake. */
const REORDER_BY = 5;
