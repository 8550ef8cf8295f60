import { FRAME, misplacedFrame } from '../protocol/frames.ts';
import { decodeCredit, decodeFin, decodeReset, decodeSmall, encodeCredit, encodeFin, encodeReset } from '../protocol/messages.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { StreamNumbers } from '../protocol/stream-numbers.ts';
import type { Control } from './control.ts';
import type { LaneHost } from './lane.ts';
import type { TlsStream } from './stream.ts';

/** The lanes of one link's streams: what they share the control connection for. */
export class Lanes implements LaneHost {
  /** Null in a branch of a link, which has none. */
  readonly #control: Control | null;
  /** The streams that have a lane, by its number; at the server also those whose ATTACH has overtaken their OPEN. */
  readonly #streams = new Map<number, TlsStream>();
  /** Streams that could write if the control connection had room, longest waiting first. */
  readonly #waiting = new Set<TlsStream>();
  readonly #numbers: StreamNumbers;
  #wereUsed = false;

  constructor(control: Control | null, numbers: StreamNumbers) {
    this.#control = control;
    this.#numbers = numbers;
  }

  get(id: number): TlsStream | undefined {
    return this.#streams.get(id);
  }

  /** Whether there have been any. */
  get wereUsed(): boolean {
    return this.#wereUsed;
  }

  add(id: number, stream: TlsStream): void {
    this.#wereUsed = true;
    this.#streams.set(id, stream);
  }

  forget(stream: TlsStream): void {
    this.#waiting.delete(stream);
    if (stream.lane !== null) this.#streams.delete(stream.lane.id);
  }

  waitForRoom(stream: TlsStream): void {
    this.#waiting.add(stream);
  }

  handleRoom(): void {
    for (let left = this.#waiting.size; left > 0 && this.hasLaneRoom; left--) {
      const [stream] = this.#waiting;
      if (stream === undefined) return;
      this.#waiting.delete(stream);
      stream.handleRoom();
    }
  }

  get hasLaneRoom(): boolean {
    return this.#control?.hasRoom ?? false;
  }

  sendSmall(id: number, bytes: Uint8Array): boolean {
    return this.#control?.sendSmall(id, bytes) ?? false;
  }

  sendFin(id: number): void {
    this.#control?.sendSoon(encodeFin(id));
  }

  sendCredit(id: number, offset: number): void {
    this.#control?.sendSoon(encodeCredit(id, offset));
  }

  sendReset(id: number, reason: ResetReason, message: string): void {
    this.#control?.sendSoon(encodeReset(id, reason, message));
  }

  /** A frame about a stream other than OPEN. @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleFrame(type: number, payload: Uint8Array): void {
    switch (type) {
      case FRAME.SMALL: {
        const { stream, offset } = decodeSmall(payload);
        return this.#known(stream)?.handleSmall(payload.subarray(offset));
      }
      case FRAME.FIN:
        return this.#known(decodeFin(payload))?.handleLaneFin();
      case FRAME.CREDIT: {
        const { stream, offset } = decodeCredit(payload);
        return this.#known(stream)?.handleCredit(offset);
      }
      case FRAME.RESET:
        return this.#known(decodeReset(payload).stream)?.handleReset(payload);
      default:
        throw misplacedFrame(type);
    }
  }

  /** The stream that a frame is about; undefined when it has ended here. @throws QtunnelError `PROTOCOL_VIOLATION` when it never was. */
  #known(id: number): TlsStream | undefined {
    const stream = this.#streams.get(id);
    if (stream === undefined || this.#numbers.isAhead(id)) this.#numbers.expectUsed(id);
    return stream;
  }
}
