import { cellOf, rowsOf, summarize } from '../figures.ts';
import type { Column, Failure, Sample } from '../figures.ts';
import type { Suite } from '../suite.ts';

/** A suite's samples as a Markdown table: the median and the range of the rounds in each cell. What failed stands below it. */
export function table(suite: Pick<Suite, 'name' | 'columns'>, samples: readonly Sample[], failures: readonly Failure[]): string {
  const head = ['', ...suite.columns.map(({ name, unit }) => `${name}, ${unit}`)];
  const rows = rowsOf(samples, suite.name).map((row) =>
    [row].concat(suite.columns.map((column) => cell(cellOf(samples, suite.name, row, column.name), column))),
  );
  return [markdown(head, rows), ...notes(suite.name, failures)].join('\n');
}

function cell(samples: readonly Sample[], { digits }: Column): string {
  const summary = summarize(samples);
  if (summary === null) return '–';
  const text = (value: number) => value.toFixed(digits);
  const range = samples.length > 1 ? ` (${text(summary.lowest)}–${text(summary.highest)})` : '';
  return `${text(summary.median)}${range}`;
}

/** The medians as a Markdown table with the contenders as columns: of each row, its columns' medians with strokes between them. */
export function overview(rows: NonNullable<Suite['overview']>, suite: string, samples: readonly Sample[]): string {
  const contenders = rowsOf(samples, suite);
  const short = (contender: string, column: string) =>
    summarize(cellOf(samples, suite, contender, column))?.median.toFixed(1) ?? '–';
  const lines = rows.map(({ name, columns }) =>
    [name].concat(contenders.map((contender) => columns.map((column) => short(contender, column)).join(' / '))),
  );
  return markdown([''].concat(contenders), lines);
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** A line for each thing that failed, however often it did. */
function notes(suite: string, failures: readonly Failure[]): string[] {
  const own = failures.filter((failure) => failure.suite === suite);
  const lines = own.map(({ row, what, message }) => `- ${row}, ${what}: ${message}`);
  const times = (line: string) => lines.filter((other) => other === line).length;
  const told = [...new Set(lines)].map((line) => `${line}${times(line) > 1 ? ` (${times(line)} times)` : ''}`);
  return told.length > 0 ? ['', 'Failed:', '', ...told] : [];
}
