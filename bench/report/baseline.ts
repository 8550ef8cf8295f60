import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Baseline, Ratio } from './check.ts';

/** @throws Error that says what to do when there is none. */
export function readBaseline(file = BASELINE): Baseline {
  if (!existsSync(file)) {
    throw new Error(`${file} is not there, so there is nothing to compare with: make it with npm run bench -- --write-baseline`);
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Baseline;
}

/**
 * Writes the baseline. Of a run of some suites only, the others' ratios stay as they were.
 * @returns the file's name
 */
export function writeBaseline(conditions: readonly string[], ratios: readonly Ratio[], file = BASELINE): string {
  const measured = new Set(ratios.map(({ suite }) => suite));
  const kept = existsSync(file) ? readBaseline(file).ratios.filter(({ suite }) => !measured.has(suite)) : [];
  const rounded = ratios.map((one) => ({ ...one, ratio: Number(one.ratio.toPrecision(4)) }));
  writeFileSync(file, `${JSON.stringify({ conditions, ratios: [...kept, ...rounded] } satisfies Baseline, null, 2)}\n`);
  return file;
}

const BASELINE = 'bench/baseline.json';
