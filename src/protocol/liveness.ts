/**
 * Whether the peer is still there. Times are milliseconds of one steady clock, given from outside.
 *
 *     heard from ──(keepalive)──▶ ping, again each keepalive ──(a ping unanswered for `stall`)──▶ stalled ──(idleTimeout)──▶ dead
 *          ▲                                                                                  │
 *          └───────────────────────────── anything heard ─────────────────────────────────────┘
 */
export type LivenessState = 'alive' | 'stalled' | 'dead';

export class Liveness {
  readonly #keepalive: number;
  readonly #idleTimeout: number;
  readonly #stall: number;
  #heardAt: number;
  #askedAt: number;
  /** When the oldest question that is still open was asked; Infinity when there is none. */
  #waitingSince = Infinity;

  constructor(options: { keepalive: number; idleTimeout: number; stall?: number; now: number }) {
    this.#keepalive = options.keepalive;
    this.#idleTimeout = options.idleTimeout;
    this.#stall = Math.min(options.stall ?? STALL, STALL);
    this.#heardAt = options.now;
    this.#askedAt = options.now;
  }

  handleHeard(now: number): void {
    this.#heardAt = now;
    this.#waitingSince = Infinity;
  }

  /** Something was sent that the peer has to answer or acknowledge. */
  handleAsked(now: number): void {
    this.#askedAt = now;
    if (this.#waitingSince === Infinity) this.#waitingSince = now;
  }

  state(now: number): LivenessState {
    if (now >= this.#deadAt()) return 'dead';
    return now >= this.#stallAt() ? 'stalled' : 'alive';
  }

  /** Whether it is time for a ping; the caller sends one and calls `handleAsked`. */
  pollPing(now: number): boolean {
    return now >= this.#pingAt();
  }

  /** When to look again, for a caller that has acted on `state(now)` and `pollPing(now)`: after `now` unless the peer is dead. */
  deadline(now: number): number {
    const stallAt = this.#stallAt();
    return Math.min(this.#pingAt(), stallAt > now ? stallAt : Infinity, this.#deadAt());
  }

  // What is asked and what is slept until come from one sum each: with another one, rounding could wake a caller just before its time.
  #deadAt(): number {
    return this.#heardAt + this.#idleTimeout;
  }

  #stallAt(): number {
    return this.#waitingSince + this.#stall;
  }

  #pingAt(): number {
    return Math.max(this.#heardAt, this.#askedAt) + this.#keepalive;
  }
}

/**
 * Milliseconds without an answer after which new connections had better take another way. Above the 1.5 s round trip of a satellite
 * path with a loss; below what a person would call hanging.
 */
export const STALL = 2_500;
