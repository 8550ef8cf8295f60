import { QtunnelError } from '../errors.ts';

/** Frame types as they stand on the wire (docs/PROTOCOL.md, "Frames"). */
export const FRAME = {
  HELLO: 0x01,
  WELCOME: 0x02,
  REJECT: 0x03,
  PING: 0x04,
  PONG: 0x05,
  GOAWAY: 0x06,
  OPEN: 0x10,
  DATA: 0x11,
  FIN: 0x12,
  RESET: 0x13,
  CREDIT: 0x14,
  SMALL: 0x15,
  MOVE: 0x16,
  ATTACH: 0x17,
  READY: 0x18,
  DATAGRAM: 0x19,
} as const;

export const FRAME_HEADER = 4;
export const MAX_DATA = 65_536;
export const MAX_CONTROL = 4_096;

/** A whole frame of `type` with this payload. */
export function frame(type: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER + payload.length);
  writeFrameHeader(bytes, 0, type, payload.length);
  bytes.set(payload, FRAME_HEADER);
  return bytes;
}

export function writeFrameHeader(into: Uint8Array, at: number, type: number, length: number): void {
  into[at] = type;
  into[at + 1] = length >>> 16;
  into[at + 2] = length >>> 8;
  into[at + 3] = length;
}

/** What to throw when a frame of a known type came `where` it must not. */
export function misplacedFrame(type: number, where = 'where it does not belong'): QtunnelError {
  return new QtunnelError('PROTOCOL_VIOLATION', `The peer sent a frame of type ${type} ${where}.`);
}

export interface FrameHandler {
  /** A whole frame other than DATA. The payload is valid during the call only. */
  onFrame(type: number, payload: Uint8Array): void;
  /** A part of a DATA frame's payload, in order; valid during the call only. */
  onData(part: Uint8Array): void;
}

/**
 * Cuts a stream of bytes into frames. DATA is handed on as it arrives, without being collected; any other frame that does not arrive whole is collected in
 * a buffer of at most `MAX_CONTROL` bytes.
 *
 *     push: header ──▶ DATA payload ──▶ onData …  ──▶ header
 *              └─────▶ other payload, whole ──▶ onFrame ──▶ header
 */
export class FrameReader {
  readonly #handler: FrameHandler;
  readonly #header = new Uint8Array(FRAME_HEADER);
  #headerLength = 0;
  #type = 0;
  /** Bytes of the current frame's payload that are still to come. */
  #left = 0;
  #payload: Uint8Array | null = null;
  #paused = false;

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** Whether the bytes so far end with a whole frame. */
  get atBoundary(): boolean {
    return this.#headerLength === 0 && this.#left === 0;
  }

  /** Makes `push` return after the frame or part it is at, before the rest of its bytes. For use within a handler's call. */
  pause(): void {
    this.#paused = true;
  }

  /**
   * Takes bytes and calls the handler for what they hold. Returns how many it took: all, unless a handler called `pause`.
   * @throws QtunnelError `PROTOCOL_VIOLATION` for an unknown type or a frame that is too long.
   */
  push(bytes: Uint8Array): number {
    let at = 0;
    this.#paused = false;
    while (at < bytes.length && !this.#paused) {
      if (this.#left === 0) at += this.#takeHeader(bytes, at);
      else at += this.#type === FRAME.DATA ? this.#passData(bytes, at) : this.#collect(bytes, at);
    }
    return at;
  }

  #takeHeader(bytes: Uint8Array, at: number): number {
    const taken = Math.min(FRAME_HEADER - this.#headerLength, bytes.length - at);
    this.#header.set(bytes.subarray(at, at + taken), this.#headerLength);
    this.#headerLength += taken;
    if (this.#headerLength < FRAME_HEADER) return taken;
    this.#headerLength = 0;
    const [type, high, middle, low] = this.#header as unknown as [number, number, number, number];
    const length = (high << 16) | (middle << 8) | low;
    if (!KNOWN_TYPES.has(type)) throw new QtunnelError('PROTOCOL_VIOLATION', `The peer sent a frame of unknown type ${type}.`);
    if (length > (type === FRAME.DATA ? MAX_DATA : MAX_CONTROL)) {
      throw new QtunnelError(
        'PROTOCOL_VIOLATION',
        `The peer sent a frame of type ${type} with ${length} bytes, which is too long.`,
      );
    }
    this.#type = type;
    this.#left = length;
    if (length === 0 && type !== FRAME.DATA) this.#handler.onFrame(type, EMPTY);
    return taken;
  }

  #passData(bytes: Uint8Array, at: number): number {
    const taken = Math.min(this.#left, bytes.length - at);
    this.#left -= taken;
    this.#handler.onData(bytes.subarray(at, at + taken));
    return taken;
  }

  #collect(bytes: Uint8Array, at: number): number {
    const taken = Math.min(this.#left, bytes.length - at);
    if (this.#payload === null && taken === this.#left) {
      this.#left = 0;
      this.#handler.onFrame(this.#type, bytes.subarray(at, at + taken));
      return taken;
    }
    this.#payload ??= new Uint8Array(this.#left);
    this.#payload.set(bytes.subarray(at, at + taken), this.#payload.length - this.#left);
    this.#left -= taken;
    if (this.#left === 0) {
      const payload = this.#payload;
      this.#payload = null;
      this.#handler.onFrame(this.#type, payload);
    }
    return taken;
  }
}

const KNOWN_TYPES: ReadonlySet<number> = new Set(Object.values(FRAME));
const EMPTY = new Uint8Array(0);
