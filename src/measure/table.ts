import type { Percentiles } from './sample.ts';
import { connectionsName, type Finding, type Step, TITLES } from './plan.ts';
import type { PathName, Results } from './results.ts';
import { formatSize, megabytes, milliseconds } from './units.ts';

/** What one step has found, over each path that has been measured. */
export interface Row {
  readonly step: Step;
  readonly findings: readonly Finding[];
}

/** The table of a bench as text, which may grow while it is measured: a heading when a new test begins, then the lines of each step. */
export class Table {
  readonly #paths: readonly PathName[];
  readonly #bold: (text: string) => string;
  #test: Step['test'] | null = null;

  constructor(paths: readonly PathName[], bold: (text: string) => string) {
    this.#paths = paths;
    this.#bold = bold;
  }

  /** The lines that one more row adds. */
  add(row: Row): string {
    const heading = row.step.test === this.#test ? '' : `\n${this.#bold(headingOf(row.step, this.#paths))}\n`;
    this.#test = row.step.test;
    return (
      heading +
      linesOf(row, this.#paths)
        .map((line) => `${line.trimEnd()}\n`)
        .join('')
    );
  }
}

/** What is to be said below the table. */
export function notesOf({ problems, reliability, paths, throughput, sizes, complete }: Results): string[] {
  const broken = [...throughput, ...sizes].reduce((sum, { failed }) => sum + failed, 0);
  return [
    ...problems.map(({ path, message }) => `${TITLES[path]} could not be measured: ${message}`),
    ...paths.flatMap(({ path, linksLost }) => (linksLost > 0 ? [`${TITLES[path]}: the link was lost ${times(linksLost)}.`] : [])),
    ...(broken > 0 ? [`${connectionsName(broken)} failed while throughput was measured.`] : []),
    ...reliability.flatMap(({ path, reasons }) => {
      const list = Object.entries(reasons).map(([reason, count]) => `${reason} (${count})`);
      return list.length === 0 ? [] : [`${TITLES[path]}: transfers failed with ${list.join(', ')}.`];
    }),
    ...(complete ? [] : ['It was stopped before everything was measured.']),
  ];
}

function headingOf({ test }: Step, paths: readonly PathName[]): string {
  const titles = paths.map((path) => TITLES[path].padStart(COLUMN)).join('');
  switch (test) {
    case 'throughput':
      return 'Throughput, MB/s'.padEnd(LABEL) + titles;
    case 'sizes':
      return 'One connection up, MB/s'.padEnd(LABEL) + titles;
    case 'latency':
      return (
        'Round trip, ms'.padEnd(LABEL) + PERCENTILES.map(([title]) => title.padStart(NARROW)).join('') + 'count'.padStart(LAST)
      );
    case 'reliability':
      return (
        'Transfers with hash'.padEnd(LABEL) +
        ['whole', 'wrong', 'failed', 'skipped', 'MB'].map((title) => title.padStart(NARROW)).join('')
      );
  }
}

function linesOf({ step, findings }: Row, paths: readonly PathName[]): string[] {
  const inOrder = paths.map((path) => findings.find(({ figure }) => figure.path === path));
  switch (step.test) {
    case 'throughput':
      return [label(connections(step.plan.connections, step.plan.direction)) + inOrder.map(rateCell).join('')];
    case 'sizes':
      return [label(`writes of ${formatSize(step.plan.writeSize)}`) + inOrder.map(rateCell).join('')];
    case 'latency':
      return inOrder.flatMap((finding, index) => latencyLine(formatSize(step.plan.size), finding, index === 0));
    case 'reliability':
      return inOrder.flatMap((finding) => reliabilityLine(finding));
  }
}

function connections(count: number, direction: string): string {
  return `${String(count).padStart(4)} connection${count === 1 ? ' ' : 's'} ${direction}`;
}

function rateCell(finding: Finding | undefined): string {
  const rate = finding?.test === 'throughput' || finding?.test === 'sizes' ? finding.figure : undefined;
  if (rate === undefined) return '–'.padStart(COLUMN);
  return (rate.bytes === 0 ? '–' : megabytes(rate.bytesPerSecond)).padStart(COLUMN);
}

function latencyLine(size: string, finding: Finding | undefined, first: boolean): string[] {
  if (finding?.test !== 'latency') return [];
  const { path, roundTrip } = finding.figure;
  const cells = PERCENTILES.map(([, name]) => (roundTrip === null ? '–' : milliseconds(roundTrip[name])).padStart(NARROW));
  const name = `${(first ? size : '').padStart(SIZE)}  ${TITLES[path]}`;
  return [label(name) + cells.join('') + String(roundTrip?.count ?? 0).padStart(LAST)];
}

function reliabilityLine(finding: Finding | undefined): string[] {
  if (finding?.test !== 'reliability') return [];
  const { path, whole, wrong, failed, skipped, bytes } = finding.figure;
  const cells = [whole, wrong, failed, skipped, megabytes(bytes)].map((cell) => String(cell).padStart(NARROW));
  return [label(TITLES[path]) + cells.join('')];
}

function label(text: string): string {
  return `  ${text}`.padEnd(LABEL);
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}

const PERCENTILES: readonly (readonly [string, keyof Percentiles])[] = [
  ['p50', 'p50'],
  ['p90', 'p90'],
  ['p99', 'p99'],
  ['p99.9', 'p999'],
  ['max', 'max'],
];
const LABEL = 25;
const COLUMN = 12;
const NARROW = 9;
const LAST = 10;
const SIZE = 7;
