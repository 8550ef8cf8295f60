import type { StrangerLimits } from '../../src/link/options.ts';

/** Those of the flags' defaults that tests do not run into by being quick, and wide ones for a source: all of them come from one. */
export const LIMITS: StrangerLimits = {
  timeout: 10_000,
  bytes: 32 * 1024,
  datagrams: 32,
  maxHandshakes: 256,
  retryAbove: 256,
  maxHandshakesPerSource: 256,
  attemptsPerSource: 1000,
};
