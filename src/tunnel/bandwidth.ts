import type { LinkStream } from '../link/link.ts';
import { TokenBucket } from '../protocol/token-bucket.ts';
import { ThrottledStream } from './throttled-stream.ts';
import { systemTimers, type Timer, type Timers } from './timers.ts';

/** The limit of a tunnel or of a client, in each direction by itself. */
export class Bandwidth {
  readonly sent: Gate;
  readonly received: Gate;
  #isSet: boolean;

  /** `rate` is bits a second; null for no limit. */
  constructor(rate: number | null, timers: Timers = systemTimers) {
    this.#isSet = rate !== null;
    this.sent = new Gate(bytesOf(rate), timers);
    this.received = new Gate(bytesOf(rate), timers);
  }

  /** Counts at once for connections that have a limit, and otherwise for new ones. */
  setRate(rate: number | null): void {
    this.#isSet = rate !== null;
    this.sent.setRate(bytesOf(rate));
    this.received.setRate(bytesOf(rate));
  }

  get isSet(): boolean {
    return this.#isSet;
  }
}

/** The rate of one of so many equal parts. */
export function partOf(rate: number | null, parts: number): number | null {
  return rate === null ? null : rate / parts;
}

/** The stream itself when none of the limits is set, so that no limit costs nothing. */
export function throttled(stream: LinkStream, limits: readonly Bandwidth[]): LinkStream {
  const set = limits.filter((limit) => limit.isSet);
  if (set.length === 0) return stream;
  return new ThrottledStream(stream, {
    sent: set.map(({ sent }) => sent),
    received: set.map(({ received }) => received),
  });
}

/** Lets bytes of many streams pass at a rate. Those that have to wait take turns, first come first served, and pass a share each: so none gets more than another. */
export class Gate {
  readonly #bucket: TokenBucket;
  readonly #timers: Timers;
  readonly #waiting = new Set<Waiter>();
  #timer: Timer | null = null;
  #serving = false;

  constructor(rate: number, timers: Timers) {
    this.#timers = timers;
    this.#bucket = new TokenBucket(rate, timers.now());
  }

  /** Bytes that one should pass before others have their turn. */
  get share(): number {
    return this.#bucket.share;
  }

  setRate(rate: number): void {
    this.#bucket.setRate(rate, this.#timers.now());
    this.#plan();
  }

  /** Whether bytes may pass now; if not, the waiter's turn comes later. */
  enter(waiter: Waiter): boolean {
    if (this.#waiting.size === 0 && this.#bucket.available(this.#timers.now()) > 0) return true;
    this.#waiting.add(waiter);
    this.#plan();
    return false;
  }

  leave(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  /** Lets these bytes pass if some may pass now, before those that wait: for what is dropped rather than held back. */
  tryPass(bytes: number): boolean {
    if (this.#bucket.available(this.#timers.now()) <= 0) return false;
    this.#bucket.take(bytes);
    return true;
  }

  pass(bytes: number): void {
    this.#bucket.take(bytes);
  }

  readonly #serve = (): void => {
    this.#timer = null;
    this.#serving = true;
    for (let turns = MOST_TURNS; turns > 0 && this.#bucket.available(this.#timers.now()) > 0; turns--) {
      const [first] = this.#waiting;
      if (first === undefined) break;
      this.#waiting.delete(first);
      first.onTurn();
    }
    this.#serving = false;
    this.#plan();
  };

  #plan(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#serving || this.#waiting.size === 0) return;
    this.#timer = this.#timers.setTimer(this.#serve, Math.ceil(this.#bucket.wait(this.#timers.now())));
  }
}

export interface Waiter {
  onTurn(): void;
}

function bytesOf(rate: number | null): number {
  return rate === null ? Infinity : rate / 8;
}

/** Turns before the event loop has its own. */
const MOST_TURNS = 256;
