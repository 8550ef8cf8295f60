import type { UdpAddress } from '../../udp/socket.ts';

/**
 * How the packets of one connection become datagrams and datagrams packets again (the "packetization layer" of RFC 8899). quiche on one side,
 * a UDP socket on the other; neither knows what is between them.
 *
 *     sending    packetBuffer() ─ quiche writes a packet ─▶ push(length) … flush()
 *     receiving  handleDatagram() ─▶ sink, packet by packet
 */
export interface Packetizer {
  /** Datagrams that a packet takes at most at the moment. */
  readonly shards: number;
  /** The peer has shown who it is: takes blocks from it. Until then they are dropped, so that a stranger takes up no memory. */
  acceptBlocks(): void;
  /** Sends blocks as well: the peer, known by this connection id, takes packets in up to `peerShards` shards. */
  startBlocks(peerShards: number, peerId: Uint8Array): void;
  /** How the path does; told at a steady pace while there is traffic. */
  handlePath(path: PathFigures): void;
  /** Where the next packet is to be written; its length is the largest size that the packet should have now. Valid until the next call. */
  packetBuffer(): Uint8Array;
  /** The first `length` bytes of the last `packetBuffer()` are a packet for `to`. */
  push(length: number, to: UdpAddress): void;
  /** Sends what is still held back for a fuller run. */
  flush(): void;
  handleDatagram(bytes: Uint8Array, offset: number, length: number): void;
  /** The connection has ended. */
  close(): void;
}

export interface PathFigures {
  /** Milliseconds. */
  readonly rtt: number;
  /** Bytes. */
  readonly cwnd: number;
  /** Packets, in all. */
  readonly sent: number;
  readonly lost: number;
}

/** Takes each packet that comes out of `handleDatagram`; the view is valid during the call only. */
export type PacketSink = (packet: Uint8Array) => void;
