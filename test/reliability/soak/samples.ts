import { openDescriptors, residentBytes } from '../../support/processes.ts';

/** What a process held at a moment. */
export interface Sample {
  /** Minutes since the beginning. */
  readonly at: number;
  readonly rss: number;
  readonly descriptors: number;
}

/** What the processes hold in the course of time; which process has a name may change. */
export class Samples {
  readonly of = new Map<string, Sample[]>();
  readonly #pidOf: ReadonlyMap<string, () => number>;
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;

  constructor(pidOf: ReadonlyMap<string, () => number>, everyMs: number) {
    this.#pidOf = pidOf;
    for (const name of pidOf.keys()) this.of.set(name, []);
    this.#timer = setInterval(() => this.#take(), everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #take(): void {
    const at = (performance.now() - this.#started) / 60_000;
    for (const [name, pid] of this.#pidOf) {
      const sample = sampleOf(pid(), at);
      if (sample !== null) this.of.get(name)!.push(sample);
    }
  }
}

/** Why memory is not flat, or null when it is: in the last quarter its median is at most 20 MB above that of the quarter before. */
export function growth(samples: readonly Sample[]): string | null {
  const end = samples.at(-1)?.at ?? 0;
  const median = (from: number, to: number) =>
    medianOf(samples.filter(({ at }) => at >= end * from && at <= end * to).map(({ rss }) => rss));
  const [before, after] = [median(0.5, 0.75), median(0.75, 1)];
  return after - before <= FLAT
    ? null
    : `${(before / MB).toFixed(0)} MB in the third quarter, ${(after / MB).toFixed(0)} MB in the last`;
}

/** Null for a process that has ended. */
function sampleOf(pid: number, at: number): Sample | null {
  try {
    return { at, rss: residentBytes([pid]), descriptors: openDescriptors(pid) };
  } catch {
    return null;
  }
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

const MB = 2 ** 20;
const FLAT = 20 * MB;
