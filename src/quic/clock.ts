/** Time as the driver sees it, so that tests can put a clock of their own in its place. quiche reads the machine's clock by itself. */
export interface Clock {
  /** Milliseconds of a steady clock. */
  now(): number;
  /** Calls `fire` once after `delay` milliseconds. A timer alone does not keep the process alive. */
  setTimer(fire: () => void, delay: number): Timer;
  /** Calls `run` once after the input that is there now has been taken in. */
  defer(run: () => void): void;
}

export interface Timer {
  cancel(): void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(fire, delay) {
    const handle = setTimeout(fire, delay).unref();
    return { cancel: () => clearTimeout(handle) };
  },
  defer: (run) => void setImmediate(run),
};
