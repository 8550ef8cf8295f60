/** One measured value: of a suite's table, in the row of a contender, taken in one round. */
export interface Sample {
  readonly suite: string;
  readonly row: string;
  readonly column: string;
  readonly round: number;
  readonly value: number;
}

/** What could not be measured, and why. */
export interface Failure {
  readonly suite: string;
  readonly row: string;
  readonly what: string;
  readonly message: string;
}

export interface Column {
  readonly name: string;
  /** As it stands in heads and beside charts. */
  readonly unit: string;
  /** After the decimal point. */
  readonly digits: number;
  readonly better: 'higher' | 'lower';
  /** Whether `--check` compares it; false for what varies too much from run to run. */
  readonly checked: boolean;
}

export interface Summary {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Null when there are no samples. */
export function summarize(samples: readonly Sample[]): Summary | null {
  const values = samples.map(({ value }) => value);
  if (values.length === 0) return null;
  return { median: median(values), lowest: Math.min(...values), highest: Math.max(...values) };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The samples of one cell. */
export function cellOf(samples: readonly Sample[], suite: string, row: string, column: string): Sample[] {
  return samples.filter((sample) => sample.suite === suite && sample.row === row && sample.column === column);
}

/** The rows that a suite has samples of, in the order in which they came first. */
export function rowsOf(samples: readonly Sample[], suite: string): string[] {
  return [...new Set(samples.filter((sample) => sample.suite === suite).map(({ row }) => row))];
}
