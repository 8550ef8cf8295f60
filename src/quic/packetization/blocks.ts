import { BlockSize } from '../../protocol/block-size.ts';
import { CONNECTION_ID, packetForm } from '../../protocol/connection-id.ts';
import { BlockPool, MAX_PACKET, Reassembly } from '../../protocol/reassembly.ts';
import { BLOCK_IDS, MAX_SHARDS, SHARD_HEADER, writeShardHeader } from '../../protocol/shard.ts';
import type { UdpAddress, UdpSocket } from '../../udp/socket.ts';
import type { PathFigures, Packetizer, PacketSink } from './packetizer.ts';
import { DatagramRun } from './run.ts';

/**
 * Packets up to the datagram's size travel as they are; once both sides have agreed, larger ones travel as blocks of shards (protocol/shard.ts).
 *
 *     quiche ─▶ packetBuffer ─ push ─┬─ fits ──────────────────────────▶ run ─▶ UDP
 *                                    └─ a block: header and part, n × ─▶ run ─▶ UDP
 *     UDP ─▶ handleDatagram ─┬─ QUIC ──────────────────────▶ sink
 *                            └─ a shard ─▶ reassembly ─────▶ sink
 */
export class BlockPacketizer implements Packetizer {
  readonly #run: DatagramRun;
  readonly #size: number;
  readonly #payload: number;
  readonly #sink: PacketSink;
  readonly #reassembly: Reassembly;
  #peerId = new Uint8Array(0);
  /** Null until the peer has said that it takes blocks. */
  #blockSize: BlockSize | null = null;
  #blockId = 0;
  #accepting = false;
  /** Whether the last `packetBuffer` was `PACKET`. */
  #large = false;

  /** `size` is the largest datagram, in bytes of UDP payload. */
  constructor(udp: UdpSocket, size: number, sink: PacketSink) {
    this.#run = new DatagramRun(udp, size);
    this.#size = size;
    this.#payload = size - SHARD_HEADER;
    this.#sink = sink;
    this.#reassembly = new Reassembly(POOL, sink);
  }

  get shards(): number {
    return this.#blockSize?.shards ?? 1;
  }

  acceptBlocks(): void {
    this.#accepting = true;
  }

  startBlocks(peerShards: number, peerId: Uint8Array): void {
    const most = Math.min(peerShards, MAX_SHARDS, Math.floor(LARGEST_PACKET / this.#payload));
    this.#accepting = true;
    this.#peerId = Uint8Array.from(peerId);
    if (most > 1 && peerId.length === CONNECTION_ID) this.#blockSize = new BlockSize(most);
  }

  handlePath(path: PathFigures): void {
    this.#blockSize?.handlePath(path, this.#payload);
  }

  packetBuffer(): Uint8Array {
    const shards = this.#blockSize === null ? 1 : this.#blockSize.shards;
    this.#large = shards > 1;
    return this.#large ? PACKET.subarray(0, shards * this.#payload) : this.#run.next();
  }

  push(length: number, to: UdpAddress): void {
    if (!this.#large) return this.#run.push(length, to);
    if (length > this.#size) return this.#pushBlock(length, to);
    this.#run.next().set(PACKET.subarray(0, length));
    this.#run.push(length, to);
  }

  flush(): void {
    this.#run.flush();
  }

  handleDatagram(bytes: Uint8Array, offset: number, length: number): void {
    if (packetForm(bytes[offset]!) === 'shard') {
      if (this.#accepting) this.#reassembly.handleShard(bytes, offset, length);
      return;
    }
    this.#sink(offset === 0 && length === bytes.length ? bytes : bytes.subarray(offset, offset + length));
  }

  close(): void {
    this.#reassembly.close();
  }

  #pushBlock(length: number, to: UdpAddress): void {
    const payload = this.#payload;
    const count = Math.ceil(length / payload);
    const blockId = this.#blockId;
    this.#blockId = (blockId + 1) % BLOCK_IDS;
    for (let index = 0; index < count; index++) {
      const from = index * payload;
      const part = Math.min(payload, length - from);
      const datagram = this.#run.next();
      writeShardHeader(datagram, { count, index, length, blockId }, this.#peerId);
      datagram.set(PACKET.subarray(from, from + part), SHARD_HEADER);
      this.#run.push(SHARD_HEADER + part, to);
    }
  }
}

/** One for all connections of a thread: what quiche writes into it is on its way before the next packet is asked for. */
const PACKET = new Uint8Array(MAX_PACKET);
const POOL = new BlockPool();
/** Bytes: quiche 0.18 makes none larger (docs/MEASURED.md). */
const LARGEST_PACKET = 16_383;
