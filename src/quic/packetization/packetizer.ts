import type { Fec } from '../../protocol/fec.ts';
import type { UdpAddress } from '../../udp/socket.ts';

/**
 * How the packets of one connection become datagrams and datagrams packets again (the "packetization layer" of RFC 8899). quiche on one side,
 * a UDP socket on the other; neither knows what is between them.
 *
 *     sending    handleTurn() ─▶ while hasRoom(): packetBuffer() ─ quiche writes a packet ─▶ push(length) … ─▶ flush()
 *     receiving  handleDatagram() ─▶ sink, packet by packet
 */
export interface Packetizer {
  /** What is known of the path; null as long as QUIC's own congestion control is in charge. */
  readonly path: PathFigures | null;
  /** The path's rate in bytes a millisecond, 0 until it is known; null as `path`. */
  readonly rate: number | null;
  /** The peer has shown who it is: takes blocks from it, with tags of this key. Until then they are dropped, so that a stranger takes up no memory. */
  acceptBlocks(shardKey: Uint8Array): void;
  /** Sends blocks as well, if the peer takes them. */
  startBlocks(peer: BlockPeer): void;
  /** Begins a turn: what was lost is sent to `to` again. */
  handleTurn(to: UdpAddress): void;
  /** Whether there may be another packet now. */
  hasRoom(): boolean;
  /** There was room, and nothing to fill it with. */
  handleIdle(): void;
  /** Where the next packet is to be written; its length is the largest size that the packet should have now. Valid until the next call. */
  packetBuffer(): Uint8Array;
  /**
   * The first `length` bytes of the last `packetBuffer()` are a packet for `to`; without `hasData` it holds acknowledgements at most, with `hasDatagrams` datagrams
   * besides, and may get lost.
   */
  push(length: number, to: UdpAddress, hasData: boolean, hasDatagrams?: boolean): void;
  /** This side has another address: the peer is to hear of it, and what shows it that this is no stranger, in this turn. */
  handleMove(): void;
  /** Ends a turn: sends what is still held back for a fuller datagram or run, and what is due to the peer. */
  flush(to: UdpAddress): void;
  /** When a turn is wanted even if nothing happens, in milliseconds on the connection's clock; Infinity for never. */
  deadline(): number;
  /** Returns whether the datagram itself shows that the peer wrote it; a packet shows that to QUIC only. */
  handleDatagram(bytes: Uint8Array, offset: number, length: number): boolean;
  /** The connection is being closed: what is sent from now on says so, goes out as it is, and waits for nothing. */
  finish(): void;
  /** The connection has ended. */
  close(): void;
}

/** What the handshake told of the peer. */
export interface BlockPeer {
  /** Shards that it takes in a block; below 1, it takes no blocks. */
  readonly shards: number;
  /** Its connection id. */
  readonly id: Uint8Array;
  /** What the reports to it, and those from it, are authenticated with. */
  readonly reportKeys: DirectionKeys;
  /** The same for shards. */
  readonly shardKeys: DirectionKeys;
  /** The parity for it; `off` also when it takes none. */
  readonly fec: Fec;
  /** Milliseconds, as far as QUIC knows it already. */
  readonly rtt: number;
}

export interface DirectionKeys {
  readonly toPeer: Uint8Array;
  readonly fromPeer: Uint8Array;
}

export interface PathFigures {
  /** Milliseconds, smoothed. */
  readonly rtt: number;
  /** Bytes that may be on their way at once. */
  readonly window: number;
  /** Bytes a second. */
  readonly deliveryRate: number;
  /** Datagrams in all, those sent again among them, and those found lost. */
  readonly sent: number;
  readonly lost: number;
  /** Parity shards sent, and shards of the peer's that its parity has brought back. */
  readonly parity: number;
  readonly restored: number;
}

/** Takes each packet that comes out of `handleDatagram`; the view is valid during the call only. */
export type PacketSink = (packet: Uint8Array) => void;
