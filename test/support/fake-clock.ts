import type { Clock, Timer } from '../../src/quic/clock.ts';
import { DEADLINE_MS } from './deadline.ts';

/**
 * A clock that moves only when a test says so. Timers, deferred calls and the deliveries of a MemoryNetwork run on it in order of time, and in the
 * order they were asked for when their time is the same.
 *
 * What it cannot do: quiche reads the machine's clock by itself, so its loss timers, its idle timeout and the round-trip times it measures are
 * real. `advance` does not care: time passes for the driver and the network only, and a timer that was set for quiche does nothing. `drive` does:
 * deliveries come at once, but before a timer fires, the real time that is left until then passes, because it may be quiche's. So with `drive`,
 * which packets get lost does not depend on the machine's speed, but when quiche sends them again does.
 */
export class FakeClock implements Clock {
  /** How often a timer was set. */
  timersSet = 0;
  #now = 1_000_000;
  #order = 0;
  readonly #events: Event[] = [];
  #deferred: (() => void)[] = [];
  #wake: () => void = () => {};

  now(): number {
    return this.#now;
  }

  /** Seconds, as `QuicEnvironment.date` gives them. */
  readonly date = (): number => Math.floor(this.#now / 1000);

  setTimer(fire: () => void, delay: number): Timer {
    this.timersSet++;
    const event = this.#add(this.#now + delay, fire, true);
    return { cancel: () => (event.cancelled = true) };
  }

  defer(run: () => void): void {
    this.#deferred.push(run);
    this.#wake();
  }

  /** Calls `run` after `delay` milliseconds, for which no real time has to pass. */
  deliverAfter(delay: number, run: () => void): void {
    this.#add(this.#now + delay, run, false);
  }

  /** Whether something is left to do at this instant. */
  get busy(): boolean {
    return this.#deferred.length > 0 || (this.#next()?.time ?? Infinity) <= this.#now;
  }

  /** When the next event is due and whether it is a timer; null when there is none. */
  get next(): { readonly time: number; readonly timer: boolean } | null {
    return this.#next() ?? null;
  }

  /** Runs what is due now: all events, then what they deferred. */
  runDue(): void {
    for (let event = this.#next(); event !== undefined && event.time <= this.#now; event = this.#next()) {
      remove(this.#events);
      event.run();
    }
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const run of deferred) run();
  }

  moveTo(time: number): void {
    this.#now = Math.max(this.#now, time);
  }

  /** Lets `milliseconds` pass and runs all that is due in them; quiche does not notice that time passes. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    for (;;) {
      await settle(this);
      const next = this.#next();
      if (next === undefined || next.time > end) return this.moveTo(end);
      this.moveTo(next.time);
    }
  }

  /** Waits for real time to pass, or until something new is to be done. */
  async sleep(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }

  #add(time: number, run: () => void, timer: boolean): Event {
    const event = { time, order: this.#order++, run, timer, cancelled: false };
    insert(this.#events, event);
    this.#wake();
    return event;
  }

  #next(): Event | undefined {
    while (this.#events[0]?.cancelled === true) remove(this.#events);
    return this.#events[0];
  }
}

/** Runs everything that is due, and lets time pass as told above, until `done`. Only one may run for a clock. */
export async function drive(
  clock: FakeClock,
  done: () => boolean,
  what = 'what the test drives to',
  limit = DEADLINE_MS,
): Promise<void> {
  const deadline = performance.now() + limit;
  while (!done()) {
    if (performance.now() > deadline) throw new Error(`Not within ${limit} ms: ${what}`);
    await settle(clock);
    if (done()) return;
    await letTimePass(clock);
  }
}

/** Drives on in the background until the function it returns is called. */
export function driveOn(clock: FakeClock): () => Promise<void> {
  let stopped = false;
  const driving = drive(clock, () => stopped, 'the end of the test', 10 * DEADLINE_MS);
  return async () => {
    stopped = true;
    clock.defer(() => {});
    await driving;
  };
}

/** Runs what is due until nothing more is, and lets promises come to rest in between. */
async function settle(clock: FakeClock): Promise<void> {
  for (let rounds = 0; rounds === 0 || clock.busy; rounds++) {
    if (rounds > MAX_ROUNDS) throw new Error('Something asks for a turn again and again without any time passing.');
    clock.runDue();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function letTimePass(clock: FakeClock): Promise<void> {
  const { next } = clock;
  if (next !== null && !next.timer) return clock.moveTo(next.time);
  const left = next === null ? POLL_MS : next.time - clock.now();
  const before = performance.now();
  await clock.sleep(left);
  const passed = Math.ceil(performance.now() - before);
  clock.moveTo(Math.min(clock.now() + passed, clock.next?.time ?? Infinity));
}

interface Event {
  readonly time: number;
  readonly order: number;
  readonly run: () => void;
  readonly timer: boolean;
  cancelled: boolean;
}

/** A binary heap: its first element is due first. */
function insert(heap: Event[], event: Event): void {
  let at = heap.push(event) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (isBefore(heap[parent]!, event)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = event;
}

function remove(heap: Event[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
    if (isBefore(last, heap[child]!)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
}

const isBefore = (a: Event, b: Event): boolean => a.time < b.time || (a.time === b.time && a.order < b.order);

const POLL_MS = 20;
/** A connection that sends 10 MB in turns of 64 packets takes 120. */
const MAX_ROUNDS = 20_000;
