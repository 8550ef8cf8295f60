import type { Path } from '../test/support/wan.ts';

/** A path of the emulated WAN. */
export interface NamedPath {
  readonly name: string;
  readonly path: Path;
  /** MB/s that it carries, headers and all. */
  readonly limit: number;
}

export interface PathFigures {
  /** Milliseconds. */
  readonly rtt: number;
  /** Mbit/s, each way. */
  readonly rate: number;
  /** Per cent of the packets, each way. */
  readonly loss?: number;
  /** How many are lost in a row, on average. */
  readonly burst?: number;
}

/** A path whose queue holds what is under way in one round trip at full rate, as routers' queues are made. */
export function makePath({ rtt, rate, loss = 0, burst = 1 }: PathFigures): NamedPath {
  const bursts = burst > 1 ? ` in bursts of ${burst}` : '';
  const losses = loss > 0 ? `, ${loss}% loss${bursts}` : '';
  const queue = Math.round((rate * 1e6 * rtt) / 8 / 1000 / 1024);
  return {
    name: `${rtt} ms, ${rate} Mbit${losses}`,
    path: { delay: rtt / 2, rate, queue, seed: 1, ...(loss > 0 && { loss, burst }) },
    limit: rate / 8,
  };
}

export const CLEAN = makePath({ rtt: 50, rate: 100 });
export const LOSSY = makePath({ rtt: 50, rate: 100, loss: 1 });

/** From good to bad. */
export const PATHS: readonly NamedPath[] = [
  makePath({ rtt: 10, rate: 200 }),
  CLEAN,
  LOSSY,
  makePath({ rtt: 100, rate: 100, loss: 2, burst: 3 }),
  makePath({ rtt: 200, rate: 50, loss: 5 }),
];
