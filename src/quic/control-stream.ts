import { QtunnelError } from '../errors.ts';
import { NOTHING_YET } from '../link/link.ts';
import { FrameReader } from '../protocol/frames.ts';
import { SMALL_HEADER, writeSmall } from '../protocol/messages.ts';
import type { QuicConnection } from './connection.ts';
import { StreamCut } from './quiche-streams.ts';
import { CONTROL_STREAM } from './stage.ts';

/**
 * Stream 0: frames in both directions for as long as the connection lives (docs/PROTOCOL.md, "QUIC"). What is sent is collected, and handed to quiche at once
 * in `flush`, which is called in each turn: a frame costs no call into quiche of its own.
 */
export class ControlStream {
  /** Takes each frame; set by whichever stage the connection is in. */
  onFrame: (type: number, payload: Uint8Array) => void;
  readonly #connection: QuicConnection;
  readonly #reader = new FrameReader({
    onFrame: (type, payload) => this.onFrame(type, payload),
    onData: () => {
      throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer sent DATA on the control stream.');
    },
  });
  /** What quiche has not taken yet is in `#buffer[#start … #end)`. */
  #buffer: Uint8Array = NOTHING;
  #start = 0;
  #end = 0;
  /** What was read and came behind a pause. */
  #held: Uint8Array | null = null;

  constructor(connection: QuicConnection, onFrame: (type: number, payload: Uint8Array) => void) {
    this.#connection = connection;
    this.onFrame = onFrame;
  }

  /** Bytes that have not been handed to quiche. */
  get pending(): number {
    return this.#end - this.#start;
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` when the peer asks for answers but does not take them. */
  send(frame: Uint8Array): void {
    this.#reserve(frame.length);
    this.#buffer.set(frame, this.#end);
    this.#end += frame.length;
    this.#connection.scheduleSending();
  }

  /** The same for a SMALL frame, without making it first. */
  sendSmall(stream: number, bytes: Uint8Array): void {
    this.#reserve(SMALL_HEADER + bytes.length);
    this.#end = writeSmall(this.#buffer, this.#end, stream, bytes);
    this.#connection.scheduleSending();
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` when the peer has stopped the stream. */
  flush(): void {
    if (this.#start === this.#end) return;
    try {
      this.#start += this.#connection.streams.write(CONTROL_STREAM, this.#buffer.subarray(this.#start, this.#end), false);
    } catch (error) {
      throw cutOff(error);
    }
    if (this.#start < this.#end) return;
    this.#start = this.#end = 0;
    // A link without traffic holds no memory here.
    if (this.#buffer.length > LEAST_BUFFER) this.#buffer = NOTHING;
  }

  /** Whether `handleReadable` has something to do. */
  get isReadable(): boolean {
    return this.#held !== null || this.#connection.streams.isReadable(CONTROL_STREAM);
  }

  /** Reads what has come. @throws QtunnelError `PROTOCOL_VIOLATION` for what a control stream must not hold, its end among it. */
  handleReadable(): void {
    if (this.#held !== null) this.#takeIn(this.#held);
    while (this.#held === null) {
      const n = this.#read();
      if (this.#connection.streams.finSeen) throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer ended the control stream.');
      if (n === NOTHING_YET) return;
      this.#takeIn(INPUT.subarray(0, n));
    }
  }

  /** Leaves what comes behind the frame that is being taken in to the next `handleReadable`. */
  pause(): void {
    this.#reader.pause();
  }

  #takeIn(bytes: Uint8Array): void {
    const taken = this.#reader.push(bytes);
    this.#held = taken === bytes.length ? null : bytes.slice(taken);
  }

  /** Makes room for `n` more bytes behind `#end`. */
  #reserve(n: number): void {
    if (this.#end + n <= this.#buffer.length) return;
    const { pending } = this;
    if (pending + n > MAX_PENDING) {
      throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer does not take what the control stream has for it.');
    }
    const waiting = this.#buffer.subarray(this.#start, this.#end);
    if (pending + n > this.#buffer.length / 2) this.#buffer = new Uint8Array(Math.max(LEAST_BUFFER, 2 * (pending + n)));
    this.#buffer.set(waiting);
    this.#start = 0;
    this.#end = pending;
  }

  #read(): number {
    try {
      return this.#connection.streams.read(CONTROL_STREAM, INPUT);
    } catch (error) {
      throw cutOff(error);
    }
  }
}

function cutOff(error: unknown): unknown {
  if (!(error instanceof StreamCut)) return error;
  return new QtunnelError('PROTOCOL_VIOLATION', 'The peer cut the control stream off.', { cause: error });
}

const NOTHING = new Uint8Array(0);
/** All connections of a thread read into the same buffer: what is in it is used before `handleReadable` returns. */
const INPUT = new Uint8Array(65_536);
/** Bytes. */
const LEAST_BUFFER = 16_384;
/** Bytes: thousands of frames. More means that the peer does not acknowledge them. */
const MAX_PENDING = 256 * 1024;
