import { type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { Gate, Waiter } from './bandwidth.ts';

/** A stream whose bytes pass gates: to whoever uses it a gate that is closed looks like a stream that takes no more, or has nothing yet. */
export class ThrottledStream implements LinkStream, StreamHandler {
  handler: StreamHandler = NOBODY;
  readonly #stream: LinkStream;
  readonly #sent: Lane;
  readonly #received: Lane;

  constructor(stream: LinkStream, gates: { readonly sent: readonly Gate[]; readonly received: readonly Gate[] }) {
    this.#stream = stream;
    this.#sent = new Lane(gates.sent, () => this.handler.onWritable());
    this.#received = new Lane(gates.received, () => this.handler.onReadable());
    stream.handler = this;
  }

  get id(): number {
    return this.#stream.id;
  }

  read(into: Uint8Array): number {
    if (!this.#received.enter()) return NOTHING_YET;
    const n = this.#stream.read(into.subarray(0, this.#received.share));
    this.#received.pass(Math.max(0, n));
    return n;
  }

  write(chunk: Uint8Array): number {
    for (let taken = 0; ;) {
      if (taken === chunk.length || !this.#sent.enter()) return taken;
      const piece = chunk.subarray(taken, taken + this.#sent.share);
      const n = this.#stream.write(piece);
      this.#sent.pass(n);
      taken += n;
      if (n < piece.length) return taken;
    }
  }

  end(): void {
    this.#stream.end();
  }

  reset(reason: ResetReason, message?: string): void {
    this.#leave();
    this.#stream.reset(reason, message);
  }

  onReadable(): void {
    this.handler.onReadable();
  }

  onWritable(): void {
    this.handler.onWritable();
  }

  onReset(reason: ResetReason, message: string): void {
    this.#leave();
    this.handler.onReset(reason, message);
  }

  #leave(): void {
    this.#sent.leave();
    this.#received.leave();
  }
}

/** One direction's way through its gates, one after the other. Being through them allows one share. */
class Lane implements Waiter {
  readonly #gates: readonly Gate[];
  readonly #onOpen: () => void;
  /** How many gates are behind. */
  #passed = 0;
  #waiting = false;

  constructor(gates: readonly Gate[], onOpen: () => void) {
    this.#gates = gates;
    this.#onOpen = onOpen;
  }

  get share(): number {
    return Math.min(...this.#gates.map(({ share }) => share));
  }

  /** Whether a share may pass now; if not, `onOpen` is called when it may. */
  enter(): boolean {
    if (this.#waiting) return false;
    for (; this.#passed < this.#gates.length; this.#passed++) {
      if (this.#gates[this.#passed]!.enter(this)) continue;
      this.#waiting = true;
      return false;
    }
    return true;
  }

  pass(bytes: number): void {
    for (const gate of this.#gates) gate.pass(bytes);
    this.#passed = 0;
  }

  onTurn(): void {
    this.#waiting = false;
    this.#passed++;
    if (!this.enter()) return;
    this.#onOpen();
    // A turn that was not used is over.
    if (!this.#waiting) this.#passed = 0;
  }

  leave(): void {
    for (const gate of this.#gates) gate.leave(this);
    this.#waiting = false;
    this.#passed = 0;
  }
}

const NOBODY: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
