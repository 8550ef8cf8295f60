import { QtunnelError } from '../errors.ts';
import { NOTHING_YET } from '../link/link.ts';
import { FrameReader } from '../protocol/frames.ts';
import { type QuicConnection, StreamCut } from './connection.ts';
import { CONTROL_STREAM } from './stage.ts';

/** Stream 0: frames in both directions for as long as the connection lives (docs/PROTOCOL.md, "QUIC"). */
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
  /** Frames that quiche has not taken yet, oldest first. */
  #queue: Uint8Array[] = [];
  #queued = 0;

  constructor(connection: QuicConnection, onFrame: (type: number, payload: Uint8Array) => void) {
    this.#connection = connection;
    this.onFrame = onFrame;
  }

  /** Whether everything written has been handed to quiche. */
  get flushed(): boolean {
    return this.#queue.length === 0;
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` when the peer asks for answers but does not take them, or has stopped the stream. */
  send(frame: Uint8Array): void {
    if (this.#queued + frame.length > MAX_QUEUED) {
      throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer does not take what the control stream has for it.');
    }
    this.#queue.push(frame);
    this.#queued += frame.length;
    this.flush();
  }

  flush(): void {
    while (this.#queue.length > 0) {
      const frame = this.#queue[0]!;
      const taken = this.#write(frame);
      this.#queued -= taken;
      if (taken < frame.length) {
        this.#queue[0] = frame.subarray(taken);
        return;
      }
      this.#queue.shift();
    }
  }

  /** Reads what has come. @throws QtunnelError `PROTOCOL_VIOLATION` for what a control stream must not hold, its end among it. */
  handleReadable(): void {
    for (;;) {
      const n = this.#read();
      if (this.#connection.finSeen) throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer ended the control stream.');
      if (n === NOTHING_YET) return;
      this.#reader.push(INPUT.subarray(0, n));
    }
  }

  #write(frame: Uint8Array): number {
    try {
      return this.#connection.writeStream(CONTROL_STREAM, frame, false);
    } catch (error) {
      throw cutOff(error);
    }
  }

  #read(): number {
    try {
      return this.#connection.readStream(CONTROL_STREAM, INPUT);
    } catch (error) {
      throw cutOff(error);
    }
  }
}

function cutOff(error: unknown): unknown {
  if (!(error instanceof StreamCut)) return error;
  return new QtunnelError('PROTOCOL_VIOLATION', 'The peer cut the control stream off.', { cause: error });
}

/** All connections of a thread read into the same buffer: what is in it is used before `handleReadable` returns. */
const INPUT = new Uint8Array(16_384);
/** Bytes: thousands of frames. More means that the peer does not acknowledge them. */
const MAX_QUEUED = 256 * 1024;
