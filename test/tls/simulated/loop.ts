/** How an event loop goes. */
export interface Chances {
  /** The chance that an actor is held when it has its turn, and for how many steps at most. */
  readonly holding: number;
  readonly longest: number;
  /** The chance that time passes though somebody could do something. */
  readonly hurry: number;
}

/** Nothing is held but what a test holds. */
export const STEADY: Chances = { holding: 0, longest: 0, hurry: 0 };

/** Some that are worth trying. */
export function anyChances(random: () => number): Chances {
  const oneOf = (choices: readonly number[]): number => choices[Math.floor(random() * choices.length)]!;
  return { holding: oneOf([0, 0.02, 0.1, 0.3]), longest: oneOf([30, 300, 3000]), hurry: oneOf([0, 0, 0.001, 0.02]) };
}

/** Something that can do a step by itself: an event that the event loop would bring, or what a program does. */
export interface Actor {
  /** Does one thing, or nothing and returns false. */
  step(): boolean;
}

/**
 * An event loop in which chance decides what happens next, so that all orders in which events may come are tried. It takes the place of `setTimeout`, `setImmediate`, `performance.now` and `Math.random` from
 * `install` to the call of what that returns; everything in between is synchronous.
 *
 * An actor may be held: it gets no turn for a while, however much others do meanwhile. Time passes when nobody can do anything, and by chance.
 */
export class SimulatedLoop {
  readonly random: () => number;
  now = 1000;
  /** Steps so far. */
  steps = 0;
  readonly #actors: Actor[] = [];
  /** Until which step an actor is held. */
  readonly #held = new Map<Actor, number>();
  readonly #holding: number;
  readonly #longest: number;
  readonly #holdings = new Map<Actor, number>();
  readonly #hurry: number;
  #immediates: (() => void)[] = [];
  #timers: Timer[] = [];

  constructor(random: () => number, chances: Chances) {
    this.random = random;
    this.#holding = chances.holding;
    this.#longest = chances.longest;
    this.#hurry = chances.hurry;
  }

  /** Whether time passes though somebody could do something. */
  get isHurried(): boolean {
    return this.#hurry > 0;
  }

  /** An integer from 0 to `n` − 1. */
  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  /** `holding` is the chance that it is held when it has its turn; left out for the one that all have. */
  add(actor: Actor, holding?: number): void {
    this.#actors.push(actor);
    if (holding !== undefined) this.#holdings.set(actor, holding);
  }

  remove(actor: Actor): void {
    const at = this.#actors.indexOf(actor);
    if (at >= 0) this.#actors.splice(at, 1);
    this.#held.delete(actor);
    this.#holdings.delete(actor);
  }

  /** Gives `actor` no turn until `release`. */
  hold(actor: Actor): void {
    this.#held.set(actor, Infinity);
  }

  release(actor: Actor): void {
    this.#held.delete(actor);
  }

  /** Calls `run` in a later step. */
  later(run: () => void): void {
    this.#immediates.push(run);
  }

  install(): () => void {
    const before = { setTimeout, clearTimeout, setImmediate, random: Math.random };
    const replaced = {
      setTimeout: (run: (...given: unknown[]) => void, delay = 0, ...given: unknown[]) =>
        this.#setTimer(() => run(...given), delay),
      clearTimeout: (timer: Timer) => void (this.#timers = this.#timers.filter((other) => other !== timer)),
      setImmediate: (run: (...given: unknown[]) => void, ...given: unknown[]) => void this.later(() => run(...given)),
    };
    Object.assign(globalThis, replaced);
    Math.random = this.random;
    Object.defineProperty(performance, 'now', { value: () => this.now, configurable: true });
    return () => {
      // The modules under test remember what they have asked for.
      while (this.#immediates.length > 0) this.#runImmediates();
      Reflect.deleteProperty(performance, 'now');
      Math.random = before.random;
      Object.assign(globalThis, {
        setTimeout: before.setTimeout,
        clearTimeout: before.clearTimeout,
        setImmediate: before.setImmediate,
      });
    };
  }

  /** Goes on until `done`, or until nothing happens any more; timers that are due after `until` count as nothing. */
  run(done: () => boolean, until: number): void {
    while (!done()) {
      if (++this.steps > MOST_STEPS) throw new Error(`There is no end to it after ${MOST_STEPS} steps.`);
      if (!this.#step() && !this.#passTime(until)) return;
    }
  }

  #step(): boolean {
    if (this.random() < this.#hurry && this.#passTime(this.now + A_WHILE)) return true;
    if (this.#immediates.length > 0 && this.random() < 0.3) return this.#runImmediates();
    if (this.#stepOne((actor) => !this.#isHeld(actor))) return true;
    if (this.#immediates.length > 0) return this.#runImmediates();
    return this.#stepOne((actor) => this.#letGo(actor));
  }

  /** Has one actor do something, and says whether there was one that had something to do. */
  #stepOne(mayAct: (actor: Actor) => boolean): boolean {
    const count = this.#actors.length;
    for (let at = this.below(count), left = count; left > 0; left--, at++) {
      const actor = this.#actors[at % count]!;
      if (mayAct(actor) && actor.step()) return true;
      if (this.#actors.length !== count) return true;
    }
    return false;
  }

  /** Whether chance alone has held it. */
  #letGo(actor: Actor): boolean {
    if (this.#held.get(actor) === Infinity) return false;
    this.#held.delete(actor);
    return true;
  }

  #isHeld(actor: Actor): boolean {
    const until = this.#held.get(actor);
    if (until !== undefined) {
      if (this.steps < until) return true;
      this.#held.delete(actor);
    }
    if (this.random() >= (this.#holdings.get(actor) ?? this.#holding)) return false;
    this.#held.set(actor, this.steps + this.below(this.#longest));
    return true;
  }

  #runImmediates(): boolean {
    const due = this.#immediates;
    this.#immediates = [];
    for (const run of due) run();
    return true;
  }

  #passTime(until: number): boolean {
    const next = this.#timers.reduce<Timer | null>((first, timer) => (first === null || timer.at < first.at ? timer : first), null);
    if (next === null || next.at > until) return false;
    this.now = Math.max(this.now, next.at);
    this.#timers = this.#timers.filter((timer) => timer !== next);
    next.run();
    return true;
  }

  #setTimer(run: () => void, delay: number): Timer {
    const timer: Timer = { at: this.now + Math.max(1, delay), run, unref: () => timer };
    this.#timers.push(timer);
    return timer;
  }
}

interface Timer {
  readonly at: number;
  readonly run: () => void;
  unref(): Timer;
}

/** Milliseconds that pass at once while there is something to do. */
const A_WHILE = 6_000;
const MOST_STEPS = 500_000;
