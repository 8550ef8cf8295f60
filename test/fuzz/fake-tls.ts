import { EventEmitter } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { FRAME, type FrameHandler, FrameReader } from '../../src/protocol/frames.ts';
import { decodeAttach, decodeOpen, decodeSmall, encodePing } from '../../src/protocol/messages.ts';

/** In the place of a TLS socket: what is written comes to `listener` when the peer takes something, and the peer's bytes come when they are wanted. */
export class FakeTls extends EventEmitter {
  readonly listener: Listener;
  readonly bytesRead = 0;
  readonly bytesWritten = 0;
  writableLength = 0;
  destroyed = false;
  /** The server has said that it is ready for another stream. */
  isReady = false;
  #takes = true;
  #paused = false;
  #ends: (() => void) | null = null;
  #willFlush = false;
  readonly #pending: { bytes: Uint8Array; sent: Sent }[] = [];
  readonly #input: Uint8Array[] = [];

  constructor(listener: Listener) {
    super();
    this.listener = listener;
    listener.onReady = () => (this.isReady = true);
  }

  get socket(): TLSSocket {
    return this as unknown as TLSSocket;
  }

  get takes(): boolean {
    return this.#takes;
  }

  set takes(takes: boolean) {
    this.#takes = takes;
    this.#flushSoon();
  }

  /** Bytes of the peer's. */
  receive(bytes: Uint8Array): void {
    if (this.destroyed) return;
    this.#input.push(bytes);
    this.#deliver();
  }

  /** The peer hangs up. */
  peerEnds(): void {
    if (!this.destroyed) this.emit('end');
  }

  write(bytes: Uint8Array, sent?: Sent): boolean {
    if (this.destroyed || this.#ends !== null) {
      process.nextTick(() => sent?.(new Error('write after end')));
      return false;
    }
    this.#pending.push({ bytes: Uint8Array.from(bytes), sent });
    this.writableLength += bytes.length;
    this.#flushSoon();
    return true;
  }

  end(done?: () => void): this {
    this.#ends ??= done ?? (() => {});
    this.#flushSoon();
    return this;
  }

  destroy(): this {
    if (this.destroyed) return this;
    this.destroyed = true;
    const lost = this.#pending.splice(0);
    process.nextTick(() => {
      for (const { sent } of lost) sent?.(new Error('destroyed'));
      this.emit('close');
    });
    return this;
  }

  pause(): this {
    this.#paused = true;
    return this;
  }

  resume(): this {
    this.#paused = false;
    process.nextTick(() => this.#deliver());
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  cork(): void {}

  uncork(): void {}

  #deliver(): void {
    while (!this.#paused && !this.destroyed) {
      const bytes = this.#input.shift();
      if (bytes === undefined) return;
      this.emit('data', bytes);
    }
  }

  #flushSoon(): void {
    if (this.#willFlush) return;
    this.#willFlush = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#willFlush = false;
    if (!this.#takes || this.destroyed) return;
    for (const { bytes, sent } of this.#pending.splice(0)) {
      this.writableLength -= bytes.length;
      const answer = this.listener.hear(bytes);
      sent?.(null);
      if (answer !== null) this.receive(answer);
    }
    if (this.#ends === null || this.#pending.length > 0) return;
    this.#ends();
    this.destroy();
  }
}

type Sent = ((error?: Error | null) => void) | undefined;

/** The peer's ear on one connection: makes sure that what comes is frames, and that streams' bytes are the ones that were written. */
export class Listener implements FrameHandler {
  /** The stream that this connection has: 0 for one that began here, null for none. */
  lane: number | null = null;
  /** The stream's bytes to the peer have come to their end here. */
  hasEnded = false;
  /** Whether it is known here which stream this connection has. */
  isSure = true;
  onReady: () => void = () => {};
  readonly #reader = new FrameReader(this);
  readonly #answerAttach: (ended: boolean) => Uint8Array | null;
  /** Bytes of each stream that have come on the control connection. */
  readonly #lanes = new Map<number, number>();
  #position: number | null = null;
  #answer: Uint8Array | null = null;

  /** `answerAttach` is asked when a client begins with a stream here, of which `ended` says whether it says more. */
  constructor(answerAttach: (ended: boolean) => Uint8Array | null) {
    this.#answerAttach = answerAttach;
  }

  /** The peer has begun a stream here. */
  begin(lane: number): void {
    this.lane = lane;
    this.#position = lane === 0 ? 0 : null;
  }

  /** Takes bytes; what the peer says to them at once, if anything. */
  hear(bytes: Uint8Array): Uint8Array | null {
    this.#reader.push(bytes);
    const answer = this.#answer;
    this.#answer = null;
    return answer;
  }

  onFrame(type: number, payload: Uint8Array): void {
    if (type === FRAME.SMALL) {
      const { stream, offset } = decodeSmall(payload);
      const position = this.#lanes.get(stream) ?? 0;
      compare(position, payload.subarray(offset), `in lane ${stream}`);
      this.#lanes.set(stream, position + payload.length - offset);
    } else if (type === FRAME.ATTACH) {
      const { stream, offset, ended } = decodeAttach(payload);
      this.lane = stream;
      this.#position = offset;
      this.hasEnded = ended;
      this.#answer = this.#answerAttach(ended);
    } else if (type === FRAME.OPEN && decodeOpen(payload).stream === 0) {
      this.lane = 0;
      this.#position = 0;
      this.hasEnded = false;
      this.#answer = this.#answerAttach(false);
    } else if (type === FRAME.FIN) this.hasEnded = true;
    else if (type === FRAME.READY) this.onReady();
    else if (type === FRAME.PING) this.#answer = encodePing(FRAME.PONG, payload);
  }

  onData(part: Uint8Array): void {
    if (!this.isSure) return;
    if (this.#position === null) throw new Error('DATA came on a connection without a stream');
    compare(this.#position, part, 'on a connection');
    this.#position += part.length;
  }
}

/** Bytes of which each says where it stands. */
export function pattern(from: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = ((from + i) * 7 + ((from + i) >>> 8)) & 0xff;
  return bytes;
}

function compare(from: number, bytes: Uint8Array, where: string): void {
  if (Buffer.compare(pattern(from, bytes.length), bytes) !== 0)
    throw new Error(`other bytes than were written came ${where}, from ${from} on`);
}
