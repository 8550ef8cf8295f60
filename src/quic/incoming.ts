import { QtunnelError } from '../errors.ts';
import { NOTHING_YET, type OpenRequest } from '../link/link.ts';
import { FRAME, FRAME_HEADER, MAX_CONTROL } from '../protocol/frames.ts';
import { decodeOpen } from '../protocol/messages.ts';
import type { QuicConnection } from './connection.ts';

/** A stream whose OPEN frame has not arrived whole. Reads exactly that frame, so that what follows stays in the stream. */
export class IncomingStream {
  readonly id: number;
  #bytes = new Uint8Array(FRAME_HEADER);
  #have = 0;

  constructor(id: number) {
    this.id = id;
  }

  /** Whether anything of it has been read: a stream that was just cut off has nothing to read although quiche said so before. */
  get begun(): boolean {
    return this.#have > 0;
  }

  /** Bytes of the stream that the OPEN frame took. */
  get length(): number {
    return this.#bytes.length;
  }

  /**
   * Reads on; the request once it is whole, null before.
   * @throws QtunnelError `PROTOCOL_VIOLATION` when the stream begins with something else; StreamCut when the peer has reset it.
   */
  read(connection: QuicConnection): OpenRequest | null {
    if (!this.#fill(connection)) return null;
    if (this.#bytes.length === FRAME_HEADER) {
      this.#expectPayload();
      if (!this.#fill(connection)) return null;
    }
    return decodeOpen(this.#bytes.subarray(FRAME_HEADER));
  }

  #fill(connection: QuicConnection): boolean {
    while (this.#have < this.#bytes.length) {
      const n = connection.readStream(this.id, this.#bytes.subarray(this.#have));
      this.#have += n;
      if (connection.finSeen) throw new QtunnelError('PROTOCOL_VIOLATION', 'A stream ended with its OPEN frame or before.');
      if (n === NOTHING_YET) return false;
    }
    return true;
  }

  #expectPayload(): void {
    const [type, high, middle, low] = this.#bytes as unknown as [number, number, number, number];
    const length = (high << 16) | (middle << 8) | low;
    if (type !== FRAME.OPEN || length === 0 || length > MAX_CONTROL) {
      throw new QtunnelError('PROTOCOL_VIOLATION', 'A stream began with something other than an OPEN frame.');
    }
    const whole = new Uint8Array(FRAME_HEADER + length);
    whole.set(this.#bytes);
    this.#bytes = whole;
  }
}
