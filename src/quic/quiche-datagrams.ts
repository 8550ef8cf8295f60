import type { Connection as QuicheConnection } from '@matrixai/quic/native/index.js';

/** The DATAGRAM frames (RFC 9221) of a quiche connection. */
export class QuicheDatagrams {
  readonly #native: QuicheConnection;
  readonly #onWritten: () => void;
  #waiting = false;

  /** `onWritten` is called when quiche has taken one to send. */
  constructor(native: QuicheConnection, onWritten: () => void) {
    this.#native = native;
    this.#onWritten = onWritten;
  }

  /** Whether quiche may hold some that were not sent. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /** Whether so many bytes may wait for the path with those that do. */
  hasRoom(bytes: number): boolean {
    try {
      return this.#native.dgramSendQueueByteSize() + bytes <= MOST_WAITING;
    } catch {
      // Whatever it is, the connection's next turn meets it as well.
      return false;
    }
  }

  /** Sends one with these bytes, at most `DATAGRAM_PART`; false when the peer takes none or too many wait. */
  send(bytes: Uint8Array): boolean {
    try {
      if (this.#native.dgramSend(bytes) === null) return false;
    } catch {
      // The peer takes none, or none as large.
      return false;
    }
    this.#waiting = true;
    this.#onWritten();
    return true;
  }

  /** The bytes of the next that has come; null when there is none. Valid until the next call, of any connection. */
  receive(): Uint8Array | null {
    const length = this.#native.dgramRecv(BUFFER);
    return length === null ? null : BUFFER.subarray(0, length);
  }

  /** quiche had nothing more to send. */
  handleEmpty(): void {
    this.#waiting = false;
  }
}

/** Bytes: the largest packet's. */
const BUFFER = new Uint8Array(16_384);
/** Bytes of one: so few that it fits into any packet. */
export const DATAGRAM_PART = 1_200;
/** Bytes: four of the largest datagrams of streams. */
const MOST_WAITING = 256 * 1024;
