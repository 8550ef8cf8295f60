import { unbundle } from '../../protocol/bundle.ts';
import { CONNECTION_ID, packetForm } from '../../protocol/connection-id.ts';
import { Arrivals } from '../../protocol/delivery/arrivals.ts';
import { ParityReceiver } from '../../protocol/delivery/parity-receiver.ts';
import { BlockPool } from '../../protocol/delivery/block-pool.ts';
import type { Hmac } from '../../protocol/handshake.ts';
import type { UdpAddress, UdpSocket } from '../../udp/socket.ts';
import type { Clock } from '../clock.ts';
import { Delivery } from './delivery.ts';
import type { BlockPeer, PathFigures, Packetizer, PacketSink } from './packetizer.ts';
import { DatagramRun } from './run.ts';
import { ShardSeal } from './shard-seal.ts';

/**
 * During the handshake packets travel as they are. Once both sides have agreed, each travels as a block of shards (protocol/shard.ts), which are
 * acknowledged, paced and sent again below QUIC (delivery.ts), and come out at the other end in the order in which they went in.
 *
 *     quiche ─▶ packetBuffer ─ push ─┬─ agreed ─▶ delivery: shards, kept until they have come ─▶ run ─▶ UDP
 *                                    └─ else ─────────────────────────────────────────────────▶ run ─▶ UDP
 *     UDP ─▶ handleDatagram ─┬─ QUIC ────────────────────────────────▶ sink
 *                            ├─ a shard ─▶ arrivals: whole, in order ─▶ sink
 *                            ├─ parity ─▶ what is missing ─▶ arrivals
 *                            └─ a report ─▶ delivery
 */
export class BlockPacketizer implements Packetizer {
  readonly #run: DatagramRun;
  readonly #sizes: readonly number[];
  readonly #sink: PacketSink;
  readonly #clock: Clock;
  readonly #hmac: Hmac;
  readonly #arrivals: Arrivals;
  readonly #restorer: ParityReceiver;
  /** Null until the peer has shown who it is. */
  #seal: ShardSeal | null = null;
  #finishing = false;
  /** Null until the peer has said that it takes blocks. */
  #delivery: Delivery | null = null;

  /** `sizes` are those that a full datagram may have, in bytes of UDP payload and rising; the first is used until the path is known to carry others. */
  constructor(udp: UdpSocket, sizes: readonly number[], clock: Clock, hmac: Hmac, sink: PacketSink) {
    this.#run = new DatagramRun(udp, sizes[0]!);
    this.#sizes = udp.keepsWhole ? sizes : sizes.slice(0, 1);
    this.#clock = clock;
    this.#hmac = hmac;
    this.#sink = sink;
    this.#arrivals = new Arrivals(POOL, (block) => unbundle(block, sink));
    this.#restorer = new ParityReceiver(this.#arrivals);
  }

  get path(): PathFigures | null {
    return this.#delivery?.path ?? null;
  }

  get rate(): number | null {
    return this.#delivery?.rate ?? null;
  }

  acceptBlocks(shardKey: Uint8Array): void {
    this.#seal ??= new ShardSeal(shardKey, this.#hmac);
  }

  startBlocks(peer: BlockPeer): void {
    this.acceptBlocks(peer.shardKeys.fromPeer);
    if (peer.shards < 1 || peer.id.length !== CONNECTION_ID) return;
    this.#delivery = new Delivery(
      {
        run: this.#run,
        sizes: this.#sizes,
        clock: this.#clock,
        hmac: this.#hmac,
        arrivals: this.#arrivals,
        restorer: this.#restorer,
        pool: POOL,
      },
      peer,
    );
  }

  handleTurn(to: UdpAddress): void {
    if (!this.#finishing) this.#delivery?.handleTurn(to);
  }

  hasRoom(): boolean {
    return this.#finishing || this.#delivery === null || this.#delivery.hasRoom();
  }

  handleIdle(): void {
    this.#delivery?.handleIdle();
  }

  packetBuffer(): Uint8Array {
    return this.#delivery === null || this.#finishing ? this.#run.next() : this.#delivery.packetBuffer();
  }

  push(length: number, to: UdpAddress, hasData: boolean, hasDatagrams = false): void {
    if (this.#delivery === null || this.#finishing) this.#run.push(length, to);
    else this.#delivery.push(length, to, hasData, hasDatagrams);
  }

  handleMove(): void {
    this.#delivery?.handleMove();
  }

  flush(to: UdpAddress): void {
    if (!this.#finishing) this.#delivery?.flush(to);
    this.#run.flush();
  }

  deadline(): number {
    return this.#finishing ? Infinity : (this.#delivery?.deadline() ?? Infinity);
  }

  handleDatagram(bytes: Uint8Array, offset: number, length: number): boolean {
    const form = packetForm(bytes[offset]!);
    if (form === 'report') return this.#delivery?.handleReport(bytes, offset, length) ?? false;
    if (form === 'probe') return this.#delivery?.handleProbe(bytes, offset, length) ?? false;
    if (form === 'parity') this.#handleParity(bytes, offset, length);
    else if (form === 'shard') this.#handleShard(bytes, offset, length);
    else this.#sink(offset === 0 && length === bytes.length ? bytes : bytes.subarray(offset, offset + length));
    return false;
  }

  finish(): void {
    this.#finishing = true;
  }

  close(): void {
    this.#arrivals.close();
    this.#restorer.close();
    this.#delivery?.close();
  }

  #handleShard(bytes: Uint8Array, offset: number, length: number): void {
    if (this.#seal?.isShard(bytes, offset, length, this.#arrivals.next) !== true) return;
    const now = this.#clock.now();
    const kept = this.#restorer.keep(bytes, offset, length);
    this.#arrivals.handleShard(bytes, offset, length, now);
    this.#restorer.handleKept(kept, now);
    this.#delivery?.handleArrival(length, now);
  }

  #handleParity(bytes: Uint8Array, offset: number, length: number): void {
    if (this.#seal?.isParity(bytes, offset, length) !== true) return;
    const now = this.#clock.now();
    const isNew = this.#restorer.handleParity(bytes, offset, length, now);
    if (isNew) this.#delivery?.handleArrival(length, now);
  }
}

/** One for all connections of a thread. */
const POOL = new BlockPool();
