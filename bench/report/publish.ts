import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Failure, Sample } from '../figures.ts';
import type { Suite } from '../suite.ts';
import { drawChart } from './chart.ts';
import { overview, table } from './table.ts';

export interface Results {
  readonly suites: readonly Suite[];
  /** The sentence below each suite's table. */
  readonly methods: ReadonlyMap<Suite, string>;
  readonly samples: readonly Sample[];
  readonly failures: readonly Failure[];
  /** Lines that say what was left out, and why. */
  readonly leftOut: readonly string[];
  /** Lines that say when and where. */
  readonly conditions: readonly string[];
}

/** Everything as one Markdown document, which names its charts' files. */
export function assembleReport({ suites, methods, samples, failures, leftOut, conditions }: Results): string {
  const sections = suites.map((suite) => {
    const charts = suite.charts.map(({ name, title }) => `![${title}](${name}.svg)`);
    const short = suite.overview === undefined ? [] : [overview(suite.overview, suite.name, samples)];
    return [`## ${suite.title}`, ...short, table(suite, samples, failures), methods.get(suite) ?? '', ...charts].join('\n\n');
  });
  const missing = leftOut.length > 0 ? [['Not measured:', '', ...leftOut.map((line) => `- ${line}`)].join('\n')] : [];
  return `${['# Benchmarks', conditions.join('\n'), ...missing, ...sections].join('\n\n')}\n`;
}

/** Writes the report, its charts, and the samples they were made of into a folder of this run, and returns the report's file. */
export function publish(results: Results, folder: string): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'report.md');
  writeFileSync(file, assembleReport(results));
  writeFileSync(join(folder, 'samples.json'), `${JSON.stringify(results.samples, null, 1)}\n`);
  for (const suite of results.suites)
    for (const chart of suite.charts)
      writeFileSync(join(folder, `${chart.name}.svg`), drawChart(chart, suite.name, results.samples));
  return file;
}
