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

/** What a process holds more or less of, and by how much its median may be higher in the last quarter of the time than in each before. */
export interface Quantity {
  readonly name: 'rss' | 'descriptors';
  readonly unit: number;
  readonly unitName: string;
  readonly flat: number;
}

export const MEMORY: Quantity = { name: 'rss', unit: 2 ** 20, unitName: 'MB', flat: 20 * 2 ** 20 };
export const DESCRIPTORS: Quantity = { name: 'descriptors', unit: 1, unitName: 'descriptors', flat: 16 };

/** The medians of the four quarters of the time. */
export function quarters(samples: readonly Sample[], { name }: Quantity): readonly number[] {
  const end = samples.at(-1)?.at ?? 0;
  return [0, 1, 2, 3].map((quarter) =>
    medianOf(
      samples.filter(({ at }) => at >= (end * quarter) / 4 && at <= (end * (quarter + 1)) / 4).map((sample) => sample[name]),
    ),
  );
}

/** Why a quantity is not flat; null when it is. */
export function growth(samples: readonly Sample[], quantity: Quantity): string | null {
  const medians = quarters(samples, quantity);
  const [before, after] = [Math.max(...medians.slice(0, 3)), medians[3]!];
  if (after - before <= quantity.flat) return null;
  const figure = (value: number) => `${(value / quantity.unit).toFixed(0)} ${quantity.unitName}`;
  return `${figure(before)} in a quarter at most, ${figure(after)} in the last`;
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
