import { cellOf, median, rowsOf } from '../figures.ts';
import type { Column, Sample } from '../figures.ts';
import type { Suite } from '../suite.ts';

/** How qtunnel did beside another contender in the same run: the figure by the other's. */
export interface Ratio {
  readonly suite: string;
  readonly row: string;
  readonly column: string;
  readonly better: Column['better'];
  /** The other contender. */
  readonly to: string;
  readonly ratio: number;
}

export interface Baseline {
  /** When, where, and of which commit. */
  readonly conditions: readonly string[];
  readonly ratios: readonly Ratio[];
}

/**
 * The ratios that the samples have: of each of qtunnel's rows in each column that is checked, to the first of the suite's references that was measured
 * there. Within a round the two were measured minutes apart, so the ratio is taken round by round, and the median of those counts.
 */
export function ratiosOf(suites: readonly CheckedSuite[], samples: readonly Sample[]): Ratio[] {
  return suites.flatMap((suite) =>
    rowsOf(samples, suite.name)
      .filter((row) => row.startsWith('qtunnel'))
      .flatMap((row) =>
        suite.columns.filter(({ checked }) => checked).flatMap((column) => ratioOf(suite, row, column, samples) ?? []),
      ),
  );
}

/** Compares a run with the baseline. Ratios that one of them lacks are named in `missing`, not counted as a loss. */
export function check(baseline: readonly Ratio[], now: readonly Ratio[]): Verdict {
  const compared = baseline.map((before) => ({ before, after: now.find((ratio) => isSame(ratio, before)) }));
  const losses = compared.flatMap(({ before, after }) => (after === undefined ? [] : lossOf(before, after)));
  const missing = compared.filter(({ after }) => after === undefined).map(({ before }) => nameOf(before));
  return { losses: losses.filter(({ loss }) => loss > TOLERANCE), compared: losses.length, missing };
}

export interface Verdict {
  readonly losses: readonly Loss[];
  readonly compared: number;
  /** What the baseline has and this run has not. */
  readonly missing: readonly string[];
}

export interface Loss {
  /** Suite, row and column. */
  readonly name: string;
  readonly before: number;
  readonly after: number;
  /** 0.2 stands for a fifth worse; below 0 for better. */
  readonly loss: number;
}

/** Lines for a person. */
export function describe({ losses, compared, missing }: Verdict): string[] {
  return [
    ...losses.map(
      ({ name, before, after, loss }) => `LOST ${percent(loss)}: ${name}: ${before.toFixed(2)} before, ${after.toFixed(2)} now`,
    ),
    ...(missing.length > 0 ? [`Not compared, as this run has no figure for them: ${missing.join('; ')}`] : []),
    `${compared} ratios compared with the baseline, ${losses.length} worse by more than ${percent(TOLERANCE)}`,
  ];
}

type CheckedSuite = Pick<Suite, 'name' | 'columns' | 'references'>;

function ratioOf(suite: CheckedSuite, row: string, { name: column, better }: Column, samples: readonly Sample[]): Ratio | null {
  const own = byRound(cellOf(samples, suite.name, row, column));
  for (const to of suite.references) {
    const others = byRound(cellOf(samples, suite.name, to, column));
    const ratios = [...own].flatMap(([round, value]) => ((others.get(round) ?? 0) > 0 ? [value / others.get(round)!] : []));
    if (ratios.length > 0) return { suite: suite.name, row, column, better, to, ratio: median(ratios) };
  }
  return null;
}

/** The median of each round's samples. */
function byRound(samples: readonly Sample[]): Map<number, number> {
  const rounds = new Set(samples.map(({ round }) => round));
  return new Map(
    [...rounds].map((round) => [round, median(samples.filter((sample) => sample.round === round).map(({ value }) => value))]),
  );
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}

function isSame(a: Ratio, b: Ratio): boolean {
  return a.suite === b.suite && a.row === b.row && a.column === b.column && a.to === b.to;
}

function lossOf(before: Ratio, after: Ratio): Loss[] {
  const change = after.ratio / before.ratio;
  return [
    { name: nameOf(before), before: before.ratio, after: after.ratio, loss: before.better === 'higher' ? 1 - change : change - 1 },
  ];
}

function nameOf({ suite, row, column, to }: Ratio): string {
  return `${suite}, ${row}, ${column} (to ${to})`;
}

const TOLERANCE = 0.15;
