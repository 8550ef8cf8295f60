import type { UdpAddress, UdpSocket } from '../../udp/socket.ts';

/** Collects datagrams of equal size for one receiver in the socket's send buffer, so that they go out in one call. */
export class DatagramRun {
  readonly #udp: UdpSocket;
  #size: number;
  #used = 0;
  #to: UdpAddress | null = null;

  /** `size` is that of a full datagram, in bytes of UDP payload. */
  constructor(udp: UdpSocket, size: number) {
    this.#udp = udp;
    this.#size = size;
  }

  /** Changes the size of a full datagram. */
  resize(size: number): void {
    this.flush();
    this.#size = size;
  }

  /** Sends one datagram by itself, of any size up to the send buffer's; `write` fills the beginning of it and returns the length. */
  sendAlone(write: (into: Uint8Array) => number, to: UdpAddress): void {
    this.flush();
    const length = write(this.#udp.sendBuffer);
    this.#udp.send(length, length, to);
  }

  /** Room for one more full datagram, to be filled from its beginning. Valid until `push`. */
  next(): Uint8Array {
    if (this.#used + this.#size > this.#udp.sendBuffer.length) this.flush();
    return this.#udp.sendBuffer.subarray(this.#used, this.#used + this.#size);
  }

  /** The first `length` bytes of that room are a datagram for `to`. One that is not full ends the run. */
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

  /** A run has one receiver: the one so far goes out, and the datagram written behind it moves to the front. */
  #sendRunBefore(length: number): void {
    const datagram = this.#udp.sendBuffer.subarray(this.#used, this.#used + length);
    this.flush();
    this.#udp.sendBuffer.set(datagram, 0);
  }
}
