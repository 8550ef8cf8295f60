import type { UdpAddress, UdpSocket } from '../../udp/socket.ts';
import type { Packetizer, PacketSink } from './packetizer.ts';

/** One packet, one datagram, as in RFC 9000. Packets of full size are collected into runs for one `send`. */
export class PlainPacketizer implements Packetizer {
  readonly #udp: UdpSocket;
  readonly #sink: PacketSink;
  readonly #size: number;
  #used = 0;
  #to: UdpAddress | null = null;

  /** `size` is the largest datagram, in bytes of UDP payload. */
  constructor(udp: UdpSocket, size: number, sink: PacketSink) {
    this.#udp = udp;
    this.#size = size;
    this.#sink = sink;
  }

  packetBuffer(): Uint8Array {
    if (this.#used + this.#size > this.#udp.sendBuffer.length) this.flush();
    return this.#udp.sendBuffer.subarray(this.#used, this.#used + this.#size);
  }

  push(length: number, to: UdpAddress): void {
    if (this.#to !== null && this.#to !== to) this.#sendRunBefore(length);
    this.#to = to;
    this.#used += length;
    if (length < this.#size) this.flush();
  }

  flush(): void {
    if (this.#used === 0) return;
    this.#udp.send(this.#used, this.#size, this.#to!);
    this.#used = 0;
    this.#to = null;
  }

  handleDatagram(bytes: Uint8Array, offset: number, length: number): void {
    this.#sink(offset === 0 && length === bytes.length ? bytes : bytes.subarray(offset, offset + length));
  }

  /** A run has one receiver: the one so far goes out, and the packet written behind it moves to the front. */
  #sendRunBefore(length: number): void {
    const packet = this.#udp.sendBuffer.subarray(this.#used, this.#used + length);
    this.flush();
    this.#udp.sendBuffer.set(packet, 0);
  }
}
