import { ParityEncoder } from '../reed-solomon/encoder.ts';
import { MAX_SHARD } from '../reed-solomon/sizes.ts';
import { threadKernel } from '../reed-solomon/thread-kernel.ts';
import { INNER_HEADER, PARITY_HEADER, writeInner, writeParityHeader } from './parity-shard.ts';
import type { ParityPolicy } from './parity-policy.ts';

/** A datagram of `length` bytes is to go out; `write` fills the beginning of the buffer that it is given. */
export type SendParity = (length: number, write: (into: Uint8Array) => void) => void;

/**
 * Gathers shards that go out for the first time into groups of consecutive numbers, and sends parity behind each group: when it is full, when the application
 * has paused, or when it has been open for as long as it may be.
 */
export class ParitySender {
  readonly #policy: ParityPolicy;
  readonly #peerId: Uint8Array;
  readonly #send: SendParity;
  #encoder: ParityEncoder | null = null;
  /** The group that is open: its first shard, how many it has, when it began; none when `k` is 0. */
  #first = 0;
  #k = 0;
  #began = 0;
  /** What full shards of the group carry; 0 before the first. */
  #share = 0;
  /** When the application's pause has lasted long enough. */
  #pauseEnds = Infinity;
  #span = 0;
  #sent = 0;

  constructor(policy: ParityPolicy, peerId: Uint8Array, send: SendParity) {
    this.#policy = policy;
    this.#peerId = peerId;
    this.#send = send;
  }

  /** Parity shards sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Milliseconds that the last group took, from its first shard to its parity: so long the parity of what is lost may still be on its way. */
  get span(): number {
    return this.#span;
  }

  get deadline(): number {
    return this.#k > 0 ? this.#pauseEnds : Infinity;
  }

  /** Shard `number` goes out for the first time. Returns whether it is in a group. */
  handleSent(number: number, count: number, index: number, length: number, payload: Uint8Array, now: number): boolean {
    const policy = this.#policy;
    const isTaken = policy.takes(payload.length) && payload.length + INNER_HEADER <= MAX_SHARD;
    const isEnd = count > 1 && index === count - 1;
    const share = isEnd || count === 1 ? this.#share : payload.length;
    const breaks =
      !isTaken || number !== this.#first + this.#k || (this.#share > 0 && (share !== this.#share || payload.length > share));
    if (this.#k > 0 && (breaks || now - this.#began > policy.duration)) this.#close(now, policy.least);
    // The end of a block does not tell how long its other shards are.
    if (!isTaken || (this.#k === 0 && isEnd)) return false;
    if (this.#k === 0) this.#begin(number, now);
    if (share > 0) this.#share = share;
    const inner = INNER.subarray(0, writeInner(INNER, count, index, length, payload));
    this.#encoder!.add(this.#k++, inner);
    this.#pauseEnds = Infinity;
    const nextEndsBlock = index + 2 === count;
    if (this.#k >= policy.data && !nextEndsBlock) this.#close(now, 1);
    return true;
  }

  /** The application had nothing more to send. */
  handlePause(now: number): void {
    if (this.#k > 0 && this.#pauseEnds === Infinity) this.#pauseEnds = now + PAUSE;
  }

  /** Sends what is due. */
  handleTurn(now: number): void {
    if (now >= this.deadline) this.#close(now, 1);
  }

  /** Drops the group that is open. */
  close(): void {
    this.#encoder?.end();
    this.#k = 0;
  }

  #begin(number: number, now: number): void {
    this.#encoder ??= new ParityEncoder(threadKernel());
    this.#encoder.begin(this.#policy.parity);
    this.#first = number;
    this.#began = now;
    this.#share = 0;
  }

  #close(now: number, least: number): void {
    const k = this.#k;
    const parity = k < least ? 0 : Math.min(this.#policy.parityFor(k), this.#policy.parity);
    const length = PARITY_HEADER + this.#encoder!.length;
    this.#span = parity === 0 ? 0 : Math.min(now - this.#began, MOST_SPAN);
    for (let j = 0; j < parity; j++) {
      this.#send(length, (into) => {
        writeParityHeader(into, { first: this.#first, k, j }, this.#peerId);
        into.set(this.#encoder!.parity(j), PARITY_HEADER);
      });
    }
    this.#sent += parity;
    this.close();
  }
}

const INNER = new Uint8Array(MAX_SHARD);
/** Milliseconds that the application may pause within a group: what it writes piece by piece shares its parity. */
const PAUSE = 2;
/** Milliseconds that what is lost waits for parity at most. */
const MOST_SPAN = 30;
