/** Time as the uplink sees it, so that tests can put a clock of their own in its place. */
export interface Timers {
  /** Milliseconds of a steady clock. */
  now(): number;
  /** Calls `fire` once after `delay` milliseconds. */
  setTimer(fire: () => void, delay: number): Timer;
}

export interface Timer {
  cancel(): void;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  setTimer(fire, delay) {
    const handle = setTimeout(fire, delay);
    return { cancel: () => clearTimeout(handle) };
  },
};
