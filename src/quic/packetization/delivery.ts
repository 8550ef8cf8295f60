import { type Arrivals, MAX_AHEAD } from '../../protocol/delivery/arrivals.ts';
import type { BlockPool } from '../../protocol/delivery/block-pool.ts';
import { Flight, type KeptPacket } from '../../protocol/delivery/flight.ts';
import { Bundle } from '../../protocol/bundle.ts';
import { type ParityPolicy, parityPolicy } from '../../protocol/delivery/parity-policy.ts';
import type { ParityReceiver } from '../../protocol/delivery/parity-receiver.ts';
import { ParitySender } from '../../protocol/delivery/parity-sender.ts';
import { Pacer } from '../../protocol/delivery/pacer.ts';
import { PathModel } from '../../protocol/delivery/path-model.ts';
import { ReportReader, ReportWriter } from '../../protocol/delivery/report.ts';
import type { Hmac } from '../../protocol/handshake.ts';
import { MAX_SHARDS, SHARD_HEADER, writeShardHeader } from '../../protocol/shard.ts';
import type { UdpAddress } from '../../udp/socket.ts';
import type { Clock } from '../clock.ts';
import type { BlockPeer, PathFigures } from './packetizer.ts';
import { MtuProbes } from './mtu-probes.ts';
import type { DatagramRun } from './run.ts';
import { ShardSeal } from './shard-seal.ts';

export interface DeliveryParts {
  readonly run: DatagramRun;
  /** Bytes of UDP payload that a full datagram may have, the first of them at once, the others if the path carries them. */
  readonly sizes: readonly number[];
  readonly clock: Clock;
  readonly hmac: Hmac;
  readonly arrivals: Arrivals;
  readonly restorer: ParityReceiver;
  readonly pool: BlockPool;
}

/**
 * Carries the packets of one connection reliably and at the path's pace: cuts each into shards, keeps it until all of them have come, sends those again
 * that are lost, and reports what came from the peer.
 *
 *     packet ─▶ flight ──shards──▶ UDP           model: how much may be on its way, and how fast
 *                 ▲ lost                          pacer: when
 *     UDP ──report┴─▶ model ─▶ pacer
 *     UDP ──shards──▶ arrivals ──report──▶ UDP
 */
export class Delivery {
  readonly #run: DatagramRun;
  #payload: number;
  readonly #probes: MtuProbes;
  readonly #clock: Clock;
  readonly #arrivals: Arrivals;
  readonly #restorer: ParityReceiver;
  readonly #pool: BlockPool;
  readonly #flight: Flight;
  readonly #model: PathModel;
  readonly #pacer: Pacer;
  readonly #writer: ReportWriter;
  readonly #reader: ReportReader;
  readonly #seal: ShardSeal;
  readonly #peerId: Uint8Array;
  readonly #peerShards: number;
  /** Null when there is to be none. */
  readonly #policy: ParityPolicy | null;
  readonly #parity: ParitySender | null;
  /** Where the last packet went to. */
  #to: UdpAddress | null = null;
  /** Small packets that are still to become a block. */
  readonly #bundle = new Bundle();
  /** Where quiche writes the next packet. */
  #buffer: Uint8Array | null = null;
  #reportNumber = 0;
  #reportDue = Infinity;
  #unreported = 0;
  #hadGap = false;
  /** Shards to be sent a second time, soonest first. */
  readonly #copies: { packet: KeptPacket; first: number; index: number; at: number }[] = [];
  /** How often in a row nothing was heard for long. */
  #silences = 0;

  constructor({ run, sizes, clock, hmac, arrivals, restorer, pool }: DeliveryParts, peer: BlockPeer) {
    const now = clock.now();
    this.#run = run;
    this.#payload = sizes[0]! - SHARD_HEADER;
    this.#clock = clock;
    this.#arrivals = arrivals;
    this.#restorer = restorer;
    this.#pool = pool;
    this.#flight = new Flight(pool);
    this.#model = new PathModel(sizes[0]!, peer.rtt, now);
    this.#pacer = new Pacer(now);
    this.#seal = new ShardSeal(peer.shardKeys.toPeer, hmac);
    this.#peerId = Uint8Array.from(peer.id);
    this.#writer = new ReportWriter(hmac, peer.reportKeys.toPeer, this.#peerId);
    this.#reader = new ReportReader(hmac, peer.reportKeys.fromPeer);
    this.#peerShards = Math.min(peer.shards, MAX_SHARDS);
    this.#probes = new MtuProbes({ run, hmac, peerId: this.#peerId, keys: peer.reportKeys, sizes, now });
    this.#policy = peer.fec === 'off' ? null : parityPolicy(peer.fec, this.#flight, this.#model);
    this.#parity = this.#policy === null ? null : new ParitySender(this.#policy, this.#peerId, this.#sendParity);
  }

  get path(): PathFigures {
    const { smoothedRtt, window, rate } = this.#model;
    const { sent, lost } = this.#flight.losses.counts;
    const { restored } = this.#restorer.counts;
    return { rtt: smoothedRtt, window, deliveryRate: rate * 1_000, sent, lost, parity: this.#parity?.sent ?? 0, restored };
  }

  get rate(): number {
    return this.#model.rate;
  }

  /** Sends again what is lost, as far as there is room. */
  handleTurn(to: UdpAddress): void {
    const now = this.#clock.now();
    const flight = this.#flight;
    this.#to = to;
    this.#pacer.handleTime(now, this.#model.pacingRate);
    flight.handleOvertaken(now);
    if (flight.bytes > 0 && now >= this.#silenceEnds()) {
      this.#silences = Math.min(this.#silences + 1, MAX_BACKOFF);
      if (this.#silences >= BLACK_HOLE && this.#probes.handleBlackHole(now)) this.#fallBack();
      flight.handleSilence(now);
      // Whatever the window says: with the last reports lost it may be full for ever.
      this.#sendAgain(now, to);
      // The peer may be waiting as well, for this side at an address that a NAT has forgotten: a report shows it the new one.
      this.#reportDue = now;
    }
    this.#probes.handleTurn(now, this.#model.smoothedRtt, to);
    for (let budget = RESENT_PER_TURN; budget > 0 && flight.hasLost && this.#mayGo(); budget--) this.#sendAgain(now, to);
    this.#parity?.handleTurn(now);
    while (this.#copies.length > 0 && this.#copies[0]!.at <= now) {
      const { packet, first, index } = this.#copies.shift()!;
      // The pace is that of what comes, and of a copy nothing comes: charged for it, the rate would fall from round to round.
      if (flight.isMissing(first + index)) this.#sendShard(packet, first, index, to);
    }
  }

  hasRoom(): boolean {
    return this.#mayGo() && this.#flight.shards + MAX_SHARDS <= MAX_AHEAD;
  }

  handleIdle(): void {
    this.#sendBundle();
    this.#parity?.handlePause(this.#clock.now());
    // As long as the path is full, the path sets the pace.
    if (this.#flight.bytes > this.#model.product) return;
    this.#flight.handleIdle();
    this.#policy?.handleIdle();
  }

  packetBuffer(): Uint8Array {
    const size = this.#shards() * this.#payload;
    if (this.#buffer === null || this.#buffer.length < size) {
      if (this.#buffer !== null) this.#pool.give(this.#buffer);
      this.#buffer = this.#pool.take(size);
    }
    return this.#buffer.subarray(0, size);
  }

  push(length: number, to: UdpAddress, hasData: boolean, hasDatagrams: boolean): void {
    this.#to = to;
    if (!hasData && length <= this.#payload && this.#isQuiet(hasDatagrams)) {
      // What is lost of them nobody sends again, but they have their share of the path.
      if (hasDatagrams) this.#pacer.handleSent(length);
      return this.#pushAsIs(length, to);
    }
    if (length > BUNDLED) {
      this.#sendBundle();
      return this.#sendBlock(this.#keep(length), length, to);
    }
    const packet = this.#buffer!.subarray(0, length);
    if (this.#bundle.add(packet, this.#payload)) return;
    this.#sendBundle();
    if (!this.#bundle.add(packet, this.#payload)) this.#sendBlock(this.#keep(length), length, to);
  }

  /** Whether a packet may overtake what is under way. The loss of one that overtakes data and is acknowledged would be taken for the loss of that. */
  #isQuiet(isAcknowledged: boolean): boolean {
    return isAcknowledged ? this.#flight.bytes === 0 && this.#bundle.isEmpty : this.#flight.bytes < QUIET;
  }

  #sendBundle(): void {
    if (this.#bundle.isEmpty) return;
    const block = this.#bundle.take();
    const bytes = this.#pool.take(block.length);
    bytes.set(block);
    this.#sendBlock(bytes, block.length, this.#to!);
  }

  /** Sends the first `length` of these bytes, which come from the pool. */
  #sendBlock(bytes: Uint8Array, length: number, to: UdpAddress): void {
    const payload = this.#payload;
    const count = Math.ceil(length / payload);
    const share = Math.min(length, payload);
    const packet = { bytes, length, count, share, missing: count };
    const first = this.#flight.next;
    const now = this.#clock.now();
    if (this.#flight.bytes === 0) this.#policy?.handleIdle();
    this.#flight.add(packet, SHARD_HEADER + share, SHARD_HEADER + length - (count - 1) * share, now);
    let hasParity = false;
    for (let index = 0; index < count; index++) {
      this.#pacer.handleSent(this.#sendShard(packet, first, index, to));
      if (this.#parity !== null) hasParity = this.#addToParity(this.#parity, packet, first, index, now);
    }
    if (!hasParity && length <= SMALL && this.#isRisky(1)) this.#copies.push({ packet, first, index: 0, at: now + COPY_AFTER });
  }

  /**
   * An acknowledgement need not come: the next says the same and more. It is not sent after data that may be missing yet, because to whom that is not
   * handed on, QUIC's sender would take it for lost.
   */
  #pushAsIs(length: number, to: UdpAddress): void {
    this.#run.next().set(this.#buffer!.subarray(0, length));
    this.#run.push(length, to);
  }

  /** A shard of `length` bytes came from the peer. */
  handleArrival(length: number, now: number): void {
    this.#unreported += length;
    const { hasGap } = this.#arrivals;
    // Also when this has closed the gap (RFC 5681 §4.2): the sender is about to send it again.
    const wait = hasGap || this.#hadGap ? GAP_REPORT_AFTER : REPORT_AFTER;
    this.#hadGap = hasGap;
    const due = this.#unreported >= REPORT_EVERY ? now : now + wait;
    if (due < this.#reportDue) this.#reportDue = due;
  }

  /** Returns whether the peer wrote it. */
  handleReport(bytes: Uint8Array, offset: number, length: number): boolean {
    const report = this.#reader.read(bytes, offset, length, this.#flight.next, this.#arrivals.next);
    if (report === null) return false;
    const now = this.#clock.now();
    // What is lost may still be restored by the parity of its group.
    const patience = Math.max(this.#model.reordering, this.#parity?.span ?? 0);
    const outcome = this.#flight.handleReport(report, now, patience);
    this.#policy?.handleReport(report);
    if (outcome.delivered > 0) this.#silences = 0;
    this.#model.handleReport(outcome, this.#flight.delivered, this.#flight.bytes, now);
    this.#arrivals.handleForward(report.forward);
    return true;
  }

  /** Returns whether the peer wrote it. */
  handleProbe(bytes: Uint8Array, offset: number, length: number): boolean {
    const isGenuine = this.#probes.handleProbe(bytes, offset, length, this.#clock.now());
    if (this.#probes.size !== this.#payload + SHARD_HEADER) this.#resize();
    return isGenuine;
  }

  /** A report shows the peer where it comes from. */
  handleMove(): void {
    this.#reportDue = this.#clock.now();
  }

  /** Sends what is held back for a fuller block, and a report, if that is due. */
  flush(to: UdpAddress): void {
    this.#sendBundle();
    this.#report(to);
  }

  #report(to: UdpAddress): void {
    const now = this.#clock.now();
    if (now < this.#reportDue) return;
    this.#reportDue = Infinity;
    this.#unreported = 0;
    this.#run.flush();
    const { latest, bytes } = this.#arrivals;
    const at = bytes > 0 ? latest.at : now;
    const report = {
      number: ++this.#reportNumber,
      clock: at * 1_000,
      delay: now - at,
      latest: latest.shard,
      bytes,
      forward: this.#flight.oldest,
      ...this.#arrivals.account(),
      ...this.#restorer.counts,
    };
    this.#run.push(this.#writer.write(report, this.#run.next()), to);
    this.#run.flush();
  }

  deadline(): number {
    const silence = this.#flight.bytes > 0 ? this.#silenceEnds() : Infinity;
    const pace = this.#flight.bytes < this.#model.window ? this.#pacer.deadline() : Infinity;
    const copy = this.#copies.length > 0 ? this.#copies[0]!.at : Infinity;
    if (this.#flight.hasLost && this.#mayGo()) return -Infinity;
    const parity = this.#parity?.deadline ?? Infinity;
    return Math.min(this.#reportDue, this.#flight.overtakenUntil, silence, pace, copy, parity, this.#probes.deadline);
  }

  close(): void {
    this.#flight.close();
    this.#parity?.close();
    this.#copies.length = 0;
    if (this.#buffer !== null) this.#pool.give(this.#buffer);
    this.#buffer = null;
  }

  #sendAgain(now: number, to: UdpAddress): void {
    const lost = this.#flight.takeLost(now);
    if (lost === null) return;
    this.#pacer.handleSent(this.#sendShard(lost.packet, lost.first, lost.index, to));
    if (this.#isRisky(2)) this.#copies.push({ ...lost, at: now + COPY_AFTER });
  }

  #mayGo(): boolean {
    return this.#flight.bytes < this.#model.window && this.#pacer.mayGo();
  }

  #resize(): void {
    const { size } = this.#probes;
    this.#parity?.close();
    this.#payload = size - SHARD_HEADER;
    this.#run.resize(size);
  }

  /** What was cut for larger datagrams cannot be sent again in smaller ones: QUIC has to, and the peer need not wait. */
  #fallBack(): void {
    this.#resize();
    this.#flight.giveUp();
    this.#copies.length = 0;
    this.#reportDue = this.#clock.now();
  }

  #silenceEnds(): number {
    return this.#flight.progressAt + Math.min(this.#model.silence * 2 ** this.#silences, MAX_SILENCE);
  }

  /**
   * Whether it is likely that in a round trip one of the shards is lost so many times in a row. Everything behind it would wait for another round trip,
   * so that a copy is sent at once.
   */
  #isRisky(times: number): boolean {
    const lossRate = this.#flight.losses.rate;
    // What loses as much is full, and copies would fill it further.
    if (lossRate > OVERFLOW) return false;
    const shards = this.#model.product / this.#payload;
    return shards * lossRate ** times > RISK;
  }

  /** As many as go out in a moment: quiche's cost is for each packet, not for each byte, but a large one takes long on a slow path. */
  #shards(): number {
    const shards = Math.floor((this.#model.rate * BLOCK_DURATION) / this.#payload);
    return Math.max(1, Math.min(shards, this.#peerShards, Math.floor(LARGEST_PACKET / this.#payload)));
  }

  /** The buffer with the packet that quiche has written, or a smaller one with the same. */
  #keep(length: number): Uint8Array {
    const written = this.#buffer!;
    const small = this.#pool.take(length);
    if (small.length < written.length) {
      small.set(written.subarray(0, length));
      return small;
    }
    this.#pool.give(small);
    this.#buffer = null;
    return written;
  }

  #addToParity(parity: ParitySender, packet: KeptPacket, first: number, index: number, now: number): boolean {
    const { bytes, count, length, share } = packet;
    const payload = bytes.subarray(index * share, Math.min((index + 1) * share, length));
    return parity.handleSent(first + index, count, index, length, payload, now);
  }

  /** Goes out on top of the pace: the path's rate, as reports tell it, is that of shards without what their parity takes. */
  readonly #sendParity = (length: number, write: (into: Uint8Array) => void): void => {
    const datagram = this.#run.next().subarray(0, length);
    write(datagram);
    this.#seal.signParity(datagram);
    this.#run.push(length, this.#to!);
  };

  /** Returns the datagram's size. */
  #sendShard(packet: KeptPacket, first: number, index: number, to: UdpAddress): number {
    const { count, length, share } = packet;
    const from = index * share;
    const part = Math.min(share, length - from);
    const datagram = this.#run.next();
    writeShardHeader(datagram, { count, index, length, blockId: first }, this.#peerId);
    datagram.set(packet.bytes.subarray(from, from + part), SHARD_HEADER);
    this.#seal.signShard(datagram, SHARD_HEADER + part, first + index);
    this.#run.push(SHARD_HEADER + part, to);
    return SHARD_HEADER + part;
  }
}

/** Bytes: quiche 0.18 makes none larger (docs/MEASURED.md). */
const LARGEST_PACKET = 16_383;
/** Milliseconds that a block may take to go out. */
const BLOCK_DURATION = 1;
/** A report goes out so many ms after the first shard that it tells of, sooner when something is missing or so many bytes have come. */
const REPORT_AFTER = 4;
const GAP_REPORT_AFTER = 1;
const REPORT_EVERY = 256 * 1024;
/** Shards; more wait for the next turn, so that others have theirs. */
const RESENT_PER_TURN = 128;
/** Bytes under way up to which this side sends nothing to speak of. */
const QUIET = 64 * 1024;
/** Bytes of a packet that others may join in a block: a copy costs less than a datagram. */
const BUNDLED = 1_200;
/** Bytes of a packet whose copy costs nothing. */
const SMALL = 300;
/** The share of round trips in which something may be lost once more than is provided for. */
const RISK = 0.1;
/** The share of shards lost from which on a queue must have overflown. */
const OVERFLOW = 0.15;
/** Milliseconds between a shard and its copy: longer than most bursts of loss. */
const COPY_AFTER = 5;
/** So many silences in a row: what is sent is too large, or the path is gone altogether. */
const BLACK_HOLE = 4;
/** How often the time before a probe doubles, and the longest it becomes, in milliseconds: after an outage the path is found again within it. */
const MAX_BACKOFF = 6;
const MAX_SILENCE = 500;
