import { hmacSha256 } from '../../../src/identity/secret.ts';
import type { Clock, Timer } from '../../../src/quic/clock.ts';
import { BlockPacketizer } from '../../../src/quic/packetization/blocks.ts';
import type { Fec } from '../../../src/protocol/fec.ts';
import { randomBytes, seededRandom } from '../../support/random.ts';
import { ID } from '../../protocol/shards.ts';
import { datagramsOf, FakeUdp } from './fake-udp.ts';

/** What one direction does to datagrams. Shares are numbers from 0 to 1. */
export interface PathConditions {
  /** Milliseconds on the way. */
  delay: number;
  /** Bytes a millisecond, and how many bytes wait for their turn before further ones are dropped. */
  rate: number;
  queue: number;
  /** In bursts of `burst` on average. */
  loss: number;
  burst: number;
  /** Kept back for up to `REORDER_BY` ms. */
  reorder: number;
  duplicate: number;
  /** A bit of these is changed. */
  corrupt: number;
  down: boolean;
}

/**
 * Two packetizers, each with a stand-in for quiche that numbers its packets, over a path in simulated time. Nothing takes time but the path, and timers, which
 * fire at whole milliseconds.
 */
export class SimulatedPair {
  readonly clock = new SimulatedClock();
  readonly here: Side;
  readonly there: Side;
  readonly up: Direction;
  readonly down: Direction;

  constructor(conditions: Partial<PathConditions> = {}, seed = 1, fec: Fec = 'off') {
    this.up = new Direction(this.clock, seed, conditions);
    this.down = new Direction(this.clock, seed + 1, conditions);
    const keys = [1, 2].map((value) => new Uint8Array(32).fill(value)) as [Uint8Array, Uint8Array];
    this.here = new Side(this.clock, this.up, { toPeer: keys[0], fromPeer: keys[1] });
    this.there = new Side(this.clock, this.down, { toPeer: keys[1], fromPeer: keys[0] });
    this.here.start(this.there, 2 * this.up.conditions.delay, fec);
    this.there.start(this.here, 2 * this.up.conditions.delay, fec);
  }

  set(conditions: Partial<PathConditions>): void {
    Object.assign(this.up.conditions, conditions);
    Object.assign(this.down.conditions, conditions);
  }

  run(milliseconds: number): void {
    this.clock.runUntil(this.clock.now() + milliseconds);
  }

  /** Milliseconds until `done`, looked at each millisecond; Infinity when that is not within `limit`. */
  runTo(done: () => boolean, limit: number): number {
    const from = this.clock.now();
    while (!done()) {
      if (this.clock.now() - from >= limit) return Infinity;
      this.run(1);
    }
    return this.clock.now() - from;
  }

  close(): void {
    this.here.packetizer.close();
    this.there.packetizer.close();
  }
}

/** Sends numbered packets and looks at the numbers of those that come. */
export class Side {
  readonly packetizer: BlockPacketizer;
  /** Bytes that are still to be sent. */
  backlog = 0;
  /** The size of its packets; 0: as large as may be. */
  size = 0;
  sent = 0;
  /** Packets and their bytes that came as they were sent. */
  received = 0;
  receivedBytes = 0;
  /** Packets that came and were none, came twice or out of order. */
  spoiled = 0;
  misplaced = 0;
  turns = 0;
  datagrams = 0;
  /** Sees each datagram that goes out. */
  onDatagram: (datagram: Uint8Array) => void = () => {};
  #last = -1;
  #timerAt = Infinity;
  #timer: Timer | null = null;
  #scheduled = false;
  readonly #clock: SimulatedClock;
  readonly #direction: Direction;
  readonly #udp = new FakeUdp();
  readonly #keys: { toPeer: Uint8Array; fromPeer: Uint8Array };
  #peer!: Side;

  constructor(clock: SimulatedClock, direction: Direction, keys: { toPeer: Uint8Array; fromPeer: Uint8Array }) {
    this.#clock = clock;
    this.#direction = direction;
    this.#keys = keys;
    this.packetizer = new BlockPacketizer(this.#udp, [DATAGRAM], clock, hmacSha256, (packet) => this.#take(packet));
  }

  start(peer: Side, rtt: number, fec: Fec): void {
    this.#peer = peer;
    this.packetizer.startBlocks({ shards: 16, id: ID, reportKeys: this.#keys, shardKeys: this.#keys, fec, rtt });
  }

  send(bytes: number): void {
    this.backlog += bytes;
    this.schedule();
  }

  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.at(this.#clock.now(), () => {
      this.#scheduled = false;
      this.#turn();
    });
  }

  /** Bytes that the peer does not have although they were sent; packets that were spoiled on the way are no longer waited for. */
  get waiting(): boolean {
    return this.backlog > 0 || this.#peer.#last + 1 < this.sent;
  }

  #turn(): void {
    const { packetizer } = this;
    this.turns++;
    packetizer.handleTurn(PEER);
    let budget = 64;
    while (this.backlog > 0 && budget-- > 0 && packetizer.hasRoom()) {
      const buffer = packetizer.packetBuffer();
      const length = Math.min(this.size === 0 ? buffer.length : Math.min(this.size, buffer.length), Math.max(this.backlog, 8));
      buffer.set(contents(this.sent, length));
      this.sent++;
      this.backlog = Math.max(0, this.backlog - length);
      packetizer.push(length, PEER, true);
    }
    if (this.backlog === 0) packetizer.handleIdle();
    packetizer.flush(PEER);
    for (const run of this.#udp.takeRuns()) {
      for (const datagram of datagramsOf(run)) {
        this.datagrams++;
        this.onDatagram(datagram);
        this.#direction.carry(datagram, (arrived) => this.#peer.arrive(arrived));
      }
    }
    if (budget <= 0) this.schedule();
    this.#arm();
  }

  /** Takes a datagram, from the peer or from whoever made it up. */
  arrive(datagram: Uint8Array): void {
    this.packetizer.handleDatagram(datagram, 0, datagram.length);
    this.schedule();
  }

  #arm(): void {
    const now = this.#clock.now();
    // Node's timers fire at whole milliseconds and are never early.
    const deadline = Math.max(Math.ceil(this.packetizer.deadline()), Math.floor(now) + 1);
    if (deadline === this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = deadline;
    if (deadline === Infinity) return;
    this.#timer = this.#clock.setTimer(() => {
      this.#timerAt = Infinity;
      this.#turn();
    }, deadline - now);
  }

  #take(packet: Uint8Array): void {
    this.#look(packet);
    // quiche decrypts a packet where it is.
    packet.fill(0xdd);
  }

  #look(packet: Uint8Array): void {
    const number = packet.length < 8 ? 0 : Buffer.from(packet.buffer, packet.byteOffset).readUInt32BE(4);
    if (packet.length < 8 || Buffer.compare(packet, contents(number, packet.length)) !== 0) return void this.spoiled++;
    if (number <= this.#last || number >= this.#peer.sent) return void this.misplaced++;
    this.#last = number;
    this.received++;
    this.receivedBytes += packet.length;
  }
}

class Direction {
  readonly conditions: PathConditions;
  /** Datagrams that the queue had no room for, that were lost, that were changed. */
  overflown = 0;
  lost = 0;
  corrupted = 0;
  /** Milliseconds in the queue: the sum and the most. */
  queued = 0;
  mostQueued = 0;
  carried = 0;
  readonly #clock: SimulatedClock;
  readonly #random: () => number;
  #busyUntil = 0;
  #inBurst = false;
  #sentAt = 0;

  constructor(clock: SimulatedClock, seed: number, conditions: Partial<PathConditions>) {
    this.#clock = clock;
    this.#random = seededRandom(seed);
    this.conditions = { ...CLEAN, ...conditions };
  }

  carry(datagram: Uint8Array, arrive: (datagram: Uint8Array) => void): void {
    const { delay, rate, queue, reorder, duplicate, corrupt, down } = this.conditions;
    if (down || this.#isLost()) return void this.lost++;
    const now = this.#clock.now();
    const start = Math.max(now, this.#busyUntil);
    if ((start - now) * rate + datagram.length > queue) return void this.overflown++;
    this.carried++;
    this.queued += start - now;
    this.mostQueued = Math.max(this.mostQueued, start - now);
    this.#busyUntil = start + datagram.length / rate;
    for (let copies = this.#random() < duplicate ? 2 : 1; copies > 0; copies--) {
      const bytes = Uint8Array.from(datagram);
      if (this.#random() < corrupt) {
        this.corrupted++;
        bytes[Math.floor(this.#random() * bytes.length)]! ^= 1 << Math.floor(this.#random() * 8);
      }
      const late = this.#random() < reorder ? this.#random() * REORDER_BY : 0;
      this.#clock.at(this.#busyUntil + delay + late, () => arrive(bytes));
    }
  }

  #isLost(): boolean {
    const { loss, burst } = this.conditions;
    if (loss === 0) return false;
    // What makes a burst does not wait for a sender that has fallen silent.
    const now = this.#clock.now();
    if (now - this.#sentAt > LONGEST_BURST) this.#inBurst = false;
    this.#sentAt = now;
    this.#inBurst = this.#inBurst ? this.#random() >= 1 / burst : this.#random() < loss / (burst * (1 - loss));
    return this.#inBurst;
  }
}

export class SimulatedClock implements Clock {
  #now = 1_000.25;
  #order = 0;
  readonly #events: { at: number; order: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  setTimer(fire: () => void, delay: number): Timer {
    let cancelled = false;
    this.at(this.#now + delay, () => {
      if (!cancelled) fire();
    });
    return { cancel: () => (cancelled = true) };
  }

  defer(run: () => void): void {
    this.at(this.#now, run);
  }

  at(at: number, run: () => void): void {
    const events = this.#events;
    const event = { at, order: this.#order++, run };
    let i = events.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(event, events[parent]!)) break;
      events[i] = events[parent]!;
      i = parent;
    }
    events[i] = event;
  }

  runUntil(time: number): void {
    for (let count = 0; this.#events.length > 0 && this.#events[0]!.at <= time; count++) {
      const event = this.#pop();
      if (event.at > this.#now) count = 0;
      if (count > 100_000) throw new Error('Something asks for a turn again and again without any time passing.');
      this.#now = Math.max(this.#now, event.at);
      event.run();
    }
    this.#now = time;
  }

  #pop(): { at: number; run: () => void } {
    const events = this.#events;
    const first = events[0]!;
    const last = events.pop()!;
    if (events.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && isBefore(events[child + 1]!, events[child]!)) child++;
      if (isBefore(last, events[child]!)) break;
      events[i] = events[child]!;
      i = child;
    }
    events[i] = last;
    return first;
  }
}

const isBefore = (a: { at: number; order: number }, b: { at: number; order: number }): boolean =>
  a.at < b.at || (a.at === b.at && a.order < b.order);

/** The packet of this number: four bytes that QUIC would begin with, the number, and bytes that follow from it. */
function contents(number: number, length: number): Uint8Array {
  SCRATCH.set(NOISE.subarray(number % 1_000, (number % 1_000) + length));
  SCRATCH.writeUInt32BE(0x40404040, 0);
  SCRATCH.writeUInt32BE(number, 4);
  return SCRATCH.subarray(0, length);
}

const NOISE = randomBytes(seededRandom(99), 20_000);
const SCRATCH = Buffer.alloc(16_384);
export const DATAGRAM = 1_350;
const PEER = { host: '127.0.0.1', port: 2 };
/** Milliseconds. */
const REORDER_BY = 8;
const LONGEST_BURST = 10;
const CLEAN: PathConditions = {
  delay: 10,
  rate: 2_000,
  queue: 200_000,
  loss: 0,
  burst: 1,
  reorder: 0,
  duplicate: 0,
  corrupt: 0,
  down: false,
};
