import type { Fec } from '../../../src/protocol/fec.ts';
import type { Clock } from '../../../src/quic/clock.ts';
import { BlockPacketizer } from '../../../src/quic/packetization/blocks.ts';
import { hmacSha256 } from '../../../src/identity/secret.ts';
import { seededRandom } from '../../support/random.ts';
import { datagramsOf, FakeUdp } from './fake-udp.ts';

export interface PairConditions {
  /** Milliseconds there and back. */
  readonly rtt: number;
  /** Bytes a millisecond, and how many wait for their turn. */
  readonly rate: number;
  readonly queue: number;
  /** A share from 0 to 1, in bursts of `burst` datagrams on average. */
  readonly loss?: number;
  readonly burst?: number;
  readonly fec?: Fec;
  readonly seed?: number;
}

/** Two packetizers in simulated time, with a path between them and messages above them. Timers fire at whole milliseconds, as Node's do. */
export class PacketizerPair {
  now = 0;
  readonly client: Side;
  readonly server: Side;
  readonly #events: { at: number; order: number; run: () => void }[] = [];
  #order = 0;

  constructor(conditions: PairConditions) {
    const { rtt, rate, queue, loss = 0, burst = 1, fec = 'off', seed = 1 } = conditions;
    const path = { rtt, rate, queue, loss, burst, fec, seed };
    this.client = new Side(this, { ...path, seed: 2 * seed }, 1);
    this.server = new Side(this, { ...path, seed: 2 * seed + 1 }, 2);
    this.client.start(this.server);
    this.server.start(this.client);
  }

  /** Lets time pass until `done`, at most so many milliseconds. */
  run(milliseconds: number, done: () => boolean = () => false): void {
    const until = this.now + milliseconds;
    while (!done()) {
      const next = this.#events[0];
      if (next === undefined || next.at > until) return void (this.now = until);
      this.#removeFirst();
      this.now = Math.max(this.now, next.at);
      next.run();
    }
  }

  at(at: number, run: () => void): void {
    const events = this.#events;
    const event = { at, order: this.#order++, run };
    let i = events.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (isBefore(events[parent]!, event)) break;
      events[i] = events[parent]!;
      i = parent;
    }
    events[i] = event;
  }

  #removeFirst(): void {
    const events = this.#events;
    const last = events.pop()!;
    if (events.length === 0) return;
    let i = 0;
    for (let child = 1; child < events.length; child = 2 * i + 1) {
      if (child + 1 < events.length && isBefore(events[child + 1]!, events[child]!)) child++;
      if (isBefore(last, events[child]!)) break;
      events[i] = events[child]!;
      i = child;
    }
    events[i] = last;
  }
}

/** One end: what is sent from here, and what came. */
export class Side {
  readonly packetizer: BlockPacketizer;
  /** Called with the number of each message whose last byte has come. */
  onMessage: (id: number) => void = () => {};
  received = 0;
  /** Packets that came with other bytes than they were sent with, or out of turn. */
  wrong = 0;
  datagrams = 0;
  lost = 0;
  readonly #pair: PacketizerPair;
  readonly #udp = new FakeUdp();
  readonly #path: Required<PairConditions>;
  readonly #id: Uint8Array;
  readonly #random: () => number;
  readonly #messages: { id: number; left: number }[] = [];
  #other!: Side;
  #sequence = 0;
  #expected = 0;
  #inBurst = false;
  #busyUntil = 0;
  #wakeAt = Infinity;

  constructor(pair: PacketizerPair, path: Required<PairConditions>, id: number) {
    this.#pair = pair;
    this.#path = path;
    this.#id = new Uint8Array(16).fill(id);
    this.#random = seededRandom(path.seed);
    const clock: Clock = { now: () => pair.now, setTimer: () => ({ cancel() {} }), defer() {} };
    this.packetizer = new BlockPacketizer(this.#udp, [1350], clock, hmacSha256, (packet) => this.#handlePacket(packet));
  }

  start(other: Side): void {
    this.#other = other;
    const key = (side: Side): Uint8Array => Uint8Array.from(side.#id, (byte) => byte ^ 0x55);
    this.packetizer.startBlocks({
      shards: 16,
      id: other.#id,
      reportKeys: { toPeer: key(other), fromPeer: key(this) },
      shardKeys: { toPeer: key(other), fromPeer: key(this) },
      fec: this.#path.fec,
      rtt: this.#path.rtt,
    });
  }

  /** Sends a message of so many bytes, at least 13. */
  send(id: number, length: number): void {
    this.#messages.push({ id, left: length });
    this.#wakeAtLatest(this.#pair.now);
  }

  #turn(): void {
    const { packetizer } = this;
    packetizer.handleTurn(TO);
    while (this.#messages.length > 0 && packetizer.hasRoom()) this.#sendPacket(packetizer.packetBuffer(), this.#messages[0]!);
    if (this.#messages.length === 0 && packetizer.hasRoom()) packetizer.handleIdle();
    packetizer.flush(TO);
    for (const datagram of this.#udp.takeRuns().flatMap(datagramsOf)) this.#carry(datagram);
    const deadline = packetizer.deadline();
    if (deadline < Infinity)
      this.#wakeAtLatest(Math.max(Math.ceil(deadline), this.#pair.now + (deadline > this.#pair.now ? 0 : 1)));
  }

  #sendPacket(buffer: Uint8Array, message: { id: number; left: number }): void {
    const length = Math.min(buffer.length, Math.max(message.left, HEADER));
    message.left -= length;
    const isLast = message.left <= 0;
    if (isLast) this.#messages.shift();
    const packet = buffer.subarray(0, length);
    const number = this.#sequence++;
    packet.fill(number * 7);
    const view = new DataView(packet.buffer, packet.byteOffset);
    view.setUint32(0, FIXED_BIT + number);
    view.setUint32(4, message.id);
    view.setUint32(8, length);
    packet[12] = isLast ? 1 : 0;
    this.packetizer.push(length, TO, true);
  }

  #carry(datagram: Uint8Array): void {
    const { rtt, rate, queue, loss, burst } = this.#path;
    const { now } = this.#pair;
    this.datagrams++;
    if (loss > 0) {
      this.#inBurst = this.#inBurst ? this.#random() >= 1 / burst : this.#random() < loss / (burst * (1 - loss));
      if (this.#inBurst) return void this.lost++;
    }
    const start = Math.max(now, this.#busyUntil);
    if ((start - now) * rate + datagram.length > queue) return void this.lost++;
    this.#busyUntil = start + datagram.length / rate;
    this.#pair.at(this.#busyUntil + rtt / 2, () => {
      this.#other.packetizer.handleDatagram(datagram, 0, datagram.length);
      this.#other.#wakeAtLatest(this.#pair.now);
    });
  }

  #handlePacket(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset);
    const number = view.getUint32(0) - FIXED_BIT;
    let isRight = packet.length === view.getUint32(8);
    for (let at = HEADER; at < packet.length; at += SAMPLE) if (packet[at] !== ((number * 7) & 0xff)) isRight = false;
    if (number !== this.#expected || !isRight) this.wrong++;
    this.#expected = number + 1;
    this.received += packet.length;
    const [id, isLast] = [view.getUint32(4), packet[12] === 1];
    // quiche decrypts a packet where it is.
    packet.fill(0xdd);
    if (isLast) this.onMessage(id);
  }

  #wakeAtLatest(at: number): void {
    if (at >= this.#wakeAt) return;
    this.#wakeAt = at;
    this.#pair.at(at, () => {
      if (this.#wakeAt !== at) return;
      this.#wakeAt = Infinity;
      this.#turn();
    });
  }
}

const isBefore = (a: { at: number; order: number }, b: { at: number; order: number }): boolean =>
  a.at < b.at || (a.at === b.at && a.order < b.order);
const TO = { host: '127.0.0.1', port: 2 };
const HEADER = 13;
/** As in every packet of QUIC, in its first byte. */
const FIXED_BIT = 0x4000_0000;
/** Of so many bytes one is looked at. */
const SAMPLE = 101;
