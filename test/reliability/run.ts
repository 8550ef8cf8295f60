import { removeAbandonedNamespaces } from '../support/netns.ts';
import { missingForNamespaces } from '../support/programs.ts';
import { progress } from '../support/progress.ts';
import { interrupt } from '../support/scope.ts';
import { readArguments } from './arguments.ts';
import { Trial } from './experiment.ts';
import type { Experiment, Row } from './experiment.ts';
import { EXPERIMENTS } from './experiments.ts';

/**
 * Does the experiments that are named, one after another; README.md has the method. A table of what was done and what came of it goes to standard output, progress
 * to standard error; exit 1 when something failed.
 */
async function reliability(): Promise<void> {
  const { list, experiments, isWanted } = readArguments(process.argv.slice(2), EXPERIMENTS);
  if (list) return experiments.forEach(describe);
  if (missingForNamespaces() === false) removeAbandonedNamespaces();

  console.log(`| | what was done | what came of it | s |\n| --- | --- | --- | --- |`);
  for (const experiment of experiments) {
    const rows = await rowsOf(experiment, isWanted);
    for (const row of rows) console.log(markdown(experiment, row));
    if (rows.some(({ passed }) => !passed)) process.exitCode = 1;
  }
}

async function rowsOf(experiment: Experiment, isWanted: (experiment: Experiment, part: string) => boolean): Promise<Row[]> {
  const absence = experiment.absence();
  if (absence !== false) return [{ what: experiment.title, figures: `left out: ${absence}`, seconds: 0, passed: true }];
  const trial = new Trial(
    (part) => isWanted(experiment, part),
    (line) => progress(`${experiment.name}: ${line}`),
  );
  try {
    await experiment.run(trial);
  } catch (error) {
    trial.rows.push({ what: experiment.title, figures: `FAILED: ${(error as Error).message}`, seconds: 0, passed: false });
  }
  return trial.rows;
}

function markdown({ name }: Experiment, { what, figures, seconds }: Row): string {
  return `| ${name} | ${asCell(what)} | ${asCell(figures)} | ${seconds.toFixed(0)} |`;
}

function asCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ');
}

function describe(experiment: Experiment): void {
  console.log(`${experiment.name}: ${experiment.title}: ${experiment.absence() || 'ready'}`);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    progress(`${signal}: cleaning up`);
    void interrupt().finally(() => process.exit(1));
  });

try {
  await reliability();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
