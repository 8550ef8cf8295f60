import type { Connection as QuicheConnection } from '@matrixai/quic/native/index.js';
import { NOTHING_YET } from '../link/link.ts';
import { streamErrorCode } from './close.ts';
import type { Packetizer } from './packetization/packetizer.ts';
import { CONTROL_STREAM } from './stage.ts';
import { WriteQueue } from './write-queue.ts';

/** The streams of a quiche connection: the calls on them, and how much quiche is given to send. */
export class QuicheStreams {
  readonly #native: QuicheConnection;
  readonly #packetizer: Packetizer;
  readonly #onWritten: () => void;
  readonly #queue: WriteQueue;
  /** Bytes of streams that may be sent before `liftEarlyBound`. */
  #earlyRoom = MOST_EARLY;
  #finSeen = false;
  /** Streams that are still to be ended, and with which byte. */
  readonly #cuts = new Map<number, Uint8Array>();

  /** `queue` is told of what is sent by whoever sends; `onWritten` is called when quiche has taken something to send. */
  constructor(native: QuicheConnection, packetizer: Packetizer, queue: WriteQueue, onWritten: () => void) {
    this.#native = native;
    this.#packetizer = packetizer;
    this.#queue = queue;
    this.#onWritten = onWritten;
  }

  /** The peer is there, and what is written may go as the path takes it. */
  liftEarlyBound(): void {
    this.#earlyRoom = Infinity;
  }

  /**
   * Reads from a stream: bytes (`finSeen` says whether the last of them was read), or `NOTHING_YET`.
   * @throws StreamCut when the peer has reset the stream.
   */
  read(id: number, into: Uint8Array): number {
    this.#finSeen = false;
    let result;
    try {
      result = this.#native.streamRecv(id, into);
    } catch (error) {
      throw new StreamCut(streamErrorCode(error));
    }
    if (result === null) return NOTHING_YET;
    this.#finSeen = result[1];
    return result[0];
  }

  /** Whether the last `read` came to the stream's end. */
  get finSeen(): boolean {
    return this.#finSeen;
  }

  /** The streams that have something to read. To list any costs 20 µs and more (docs/MEASURED.md); see `isReadable`. */
  listReadable(): number[] {
    return this.#native.isReadable() ? [...this.#native.readable()] : NO_STREAMS;
  }

  /** Whether this stream has something to read: bytes, its end, or a reset. */
  isReadable(id: number): boolean {
    return this.#native.streamReadable(id);
  }

  /**
   * Writes to a stream and returns how many bytes were taken; 0 also when the congestion window is full. `fin` needs at least one byte, and counts
   * when all of them were taken.
   * @throws StreamCut when the peer has stopped the stream.
   */
  write(id: number, bytes: Uint8Array, fin: boolean): number {
    const queued = this.#queue.room(bytes.length, id === CONTROL_STREAM ? null : this.#packetizer.rate);
    const room = Math.min(queued, this.#earlyRoom);
    const isCut = bytes.length > room;
    if (isCut && room === 0) return 0;
    try {
      const taken = this.#native.streamSend(id, isCut ? bytes.subarray(0, room) : bytes, fin && !isCut) ?? 0;
      this.#queue.handleTaken(taken);
      this.#earlyRoom -= taken;
      // When nothing was taken there is nothing to send: what makes room is an acknowledgement, which comes with a turn of its own.
      if (taken > 0) this.#onWritten();
      return taken;
    } catch (error) {
      throw new StreamCut(streamErrorCode(error));
    }
  }

  /** Whether quiche may be given so many bytes of streams now; if not, a turn will come when it may be given more. */
  hasRoom(bytes: number): boolean {
    return Math.min(this.#earlyRoom, this.#queue.room(bytes, this.#packetizer.rate)) >= bytes;
  }

  /** Reads what has come on a stream, and its end or reset if that has, and drops it: quiche keeps a stream until then. */
  discard(id: number): void {
    try {
      let n;
      do n = this.isReadable(id) ? this.read(id, RUBBISH) : NOTHING_YET;
      while (n > 0);
    } catch {
      // The peer has reset it.
    }
  }

  /**
   * Whether quiche still has something to do for a stream that FIN was written to: unread, unsent or unacknowledged. Only for such a stream; another would
   * be written to. (`streamCapacity` tells it of any stream, but by throwing, which costs 5 µs.)
   */
  isEndPending(id: number): boolean {
    try {
      return this.#native.streamSend(id, NOTHING, false) !== null;
    } catch {
      // FinalSize: quiche remembers the end.
      return true;
    }
  }

  /** Has `endCut` end a stream that this side writes and has not ended, with `mark` as its last byte. */
  cut(id: number, mark: Uint8Array): void {
    this.#cuts.set(id, mark);
  }

  /**
   * Ends the streams that were cut, as far as quiche has room; true when that is something to send. Not with RESET_STREAM: when bytes of the stream wait in
   * quiche, its sender never forgets the stream, and when the stream's end has come before, unread, its receiver does not (quiche 0.18).
   */
  endCut(): boolean {
    if (this.#cuts.size === 0) return false;
    let some = false;
    for (const [id, mark] of this.#cuts) {
      try {
        // Null: there is no room, for the others neither.
        if (this.#native.streamSend(id, mark, true) === null) break;
        some = true;
      } catch {
        // The peer has stopped it.
      }
      this.#cuts.delete(id);
    }
    return some;
  }
}

/** The peer reset or stopped a stream; `code` is its application error code, or -1 when quiche does not say. */
export class StreamCut extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`stream cut off with code ${code}`);
    this.code = code;
  }
}

/** Bytes: about as much as ten datagrams carry (RFC 9002 §7.2), and less than a server takes of a stranger. */
const MOST_EARLY = 12_000;
const NO_STREAMS: number[] = [];
const NOTHING = new Uint8Array(0);
const RUBBISH = new Uint8Array(65_536);
