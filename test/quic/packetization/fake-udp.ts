import type { UdpAddress, UdpHandler, UdpSocket } from '../../../src/udp/socket.ts';

export interface Run {
  readonly bytes: Uint8Array;
  readonly segment: number;
  readonly to: UdpAddress;
}

/** Keeps what is sent. As hard on its user as the interface allows: another buffer after each run, and the last one full of garbage. */
export class FakeUdp implements UdpSocket {
  readonly address: UdpAddress = { host: '127.0.0.1', port: 1 };
  readonly sendBuffers: [Uint8Array, Uint8Array] = [new Uint8Array(65_536), new Uint8Array(65_536)];
  readonly kind = 'fake';
  readonly keepsWhole = false;
  handler: UdpHandler = { onDatagram() {}, onError() {} };
  runs: Run[] = [];

  get sendBuffer(): Uint8Array {
    return this.sendBuffers[0];
  }

  send(length: number, segment: number, to: UdpAddress): void {
    if (length < 1 || length > this.sendBuffer.length) throw new Error(`A run of ${length} bytes`);
    this.runs.push({ bytes: this.sendBuffer.slice(0, length), segment, to });
    this.sendBuffer.fill(0xee, 0, length);
    this.sendBuffers.reverse();
  }

  /** What was sent since the last call, run by run. */
  takeRuns(): Run[] {
    const { runs } = this;
    this.runs = [];
    return runs;
  }

  close(): void {}
}

export function datagramsOf({ bytes, segment }: Run): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / segment) }, (_, i) => bytes.subarray(i * segment, (i + 1) * segment));
}
