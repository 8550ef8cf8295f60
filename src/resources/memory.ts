import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** How this process's memory is asked for. */
export interface MemoryCalls {
  /** Bytes that it has in the machine's memory (RSS), of all its threads. */
  resident(): number;
  /** Gives back what is garbage of this thread. */
  collect(): void;
  /** Milliseconds on a clock that does not go back. */
  now(): number;
}

/**
 * Says when the process comes near to the memory that it may have:
 *
 *     enough ── `SHORT_FROM` of it, although garbage was collected ──▶ short
 *        ▲──────────────── below `ENOUGH_BELOW` of it ──────────────────┘
 *
 * V8 collects when it thinks fit, which may be 50 MB later, and a process without new connections has no reason to: so garbage is collected before memory counts as
 * short, and again while it does.
 */
export class Memory {
  /** Bytes that the process may have; Infinity for as many as there are. */
  cap = Infinity;
  readonly #calls: MemoryCalls;
  #resident = 0;
  #askedAt = -Infinity;
  #collectedAt = -Infinity;
  #isShort = false;

  constructor(calls: MemoryCalls = SYSTEM) {
    this.#calls = calls;
  }

  /** Bytes that it had when it was last asked for. */
  get resident(): number {
    return this.#resident;
  }

  /** Whether there is none for a further connection. Asks the system at most every `ASK_INTERVAL`. */
  isShort(): boolean {
    if (this.cap === Infinity) return false;
    const now = this.#calls.now();
    if (now - this.#askedAt < ASK_INTERVAL) return this.#isShort;
    this.#askedAt = now;
    this.#isShort = this.#isTooMuch() && (!this.#mayCollect(now) || this.#isTooMuch());
    return this.#isShort;
  }

  #isTooMuch(): boolean {
    this.#resident = this.#calls.resident();
    return this.#resident >= this.cap * (this.#isShort ? ENOUGH_BELOW : SHORT_FROM);
  }

  /** Whether garbage was collected. */
  #mayCollect(now: number): boolean {
    if (now - this.#collectedAt < COLLECT_INTERVAL) return false;
    this.#collectedAt = now;
    this.#calls.collect();
    return true;
  }
}

/** Node gives a program no other way to V8's collector. */
function collectGarbage(): void {
  if (collector === null) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
  }
  collector();
}

let collector: (() => void) | null = null;
const SYSTEM: MemoryCalls = { resident: () => process.memoryUsage.rss(), collect: collectGarbage, now: () => performance.now() };
const SHORT_FROM = 0.9;
const ENOUGH_BELOW = 0.8;
/** Milliseconds. Asking costs 15 µs; a thousand connections a second take 5 MB in the meantime. */
const ASK_INTERVAL = 100;
/** Milliseconds; collecting holds everything up for 20 to 50. */
const COLLECT_INTERVAL = 2_000;
