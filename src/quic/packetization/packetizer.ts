import type { UdpAddress } from '../../udp/socket.ts';

/**
 * How the packets of one connection become datagrams and datagrams packets again (the "packetization layer" of RFC 8899). quiche on one side,
 * a UDP socket on the other; neither knows which packetizer is between them.
 *
 *     sending    packetBuffer() ─ quiche writes a packet ─▶ push(length) … flush()
 *     receiving  handleDatagram() ─▶ sink, packet by packet
 */
export interface Packetizer {
  /** Where the next packet is to be written; its length is the largest size that the packet should have now. Valid until the next call. */
  packetBuffer(): Uint8Array;
  /** The first `length` bytes of the last `packetBuffer()` are a packet for `to`. */
  push(length: number, to: UdpAddress): void;
  /** Sends what is still held back for a fuller run. */
  flush(): void;
  handleDatagram(bytes: Uint8Array, offset: number, length: number): void;
}

/** Takes each packet that comes out of `handleDatagram`; the view is valid during the call only. */
export type PacketSink = (packet: Uint8Array) => void;
