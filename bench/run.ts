import { removeAbandonedNamespaces } from '../test/support/netns.ts';
import { isChosenSuite, readArguments } from './arguments.ts';
import type { Arguments } from './arguments.ts';
import type { Contender } from './contender.ts';
import { DIRECT, DIRECT_ON_WAN, HUBS, TUNNELS } from './contenders/index.ts';
import { absenceOf } from './launch.ts';
import { readBaseline, writeBaseline } from './report/baseline.ts';
import { check, describe, ratiosOf } from './report/check.ts';
import type { Baseline } from './report/check.ts';
import { conditions } from './report/conditions.ts';
import { assembleReport, publish } from './report/publish.ts';
import type { Results } from './report/publish.ts';
import { progress } from '../test/support/progress.ts';
import { interrupt } from '../test/support/scope.ts';
import { Session } from './session.ts';
import { namespacesAbsence } from './site.ts';
import type { Suite } from './suite.ts';
import { SUITES } from './suites/index.ts';

/**
 * Measures qtunnel and its peers side by side; README.md has the method. The report goes to standard output and, with its charts, to
 * bench/results/; progress goes to standard error.
 *
 *     npm run bench -- --suite=loopback --rounds=1 --seconds=2 --only=qtunnel
 */
async function bench(): Promise<void> {
  const wanted = readArguments(
    process.argv.slice(2),
    SUITES.map(({ name }) => name),
  );
  if (wanted.list) return list();
  const baseline = wanted.check ? readBaseline() : null;
  if (namespacesAbsence() === null) removeAbandonedNamespaces();

  const results = await measure(wanted);
  process.stdout.write(assembleReport(results));
  progress(`Written to ${publish(results, `bench/results/${new Date().toISOString().slice(0, 19).replaceAll(':', '')}`)}`);
  const ratios = ratiosOf(results.suites, results.samples);
  if (wanted.writeBaseline) progress(`Written to ${writeBaseline(results.conditions, ratios)}`);
  if (baseline !== null) judge(baseline, ratios, wanted);
}

async function measure({ suites, only, rounds, seconds, check: checked, writeBaseline: writes }: Arguments): Promise<Results> {
  const chosen = SUITES.filter((suite) => isChosenSuite(suite.name, suites));
  const references = checked || writes ? chosen.flatMap((suite) => suite.references) : [];
  const isChosen = ({ name }: Contender) =>
    only.length === 0 || only.some((part) => name.includes(part)) || references.includes(name);
  const absent = CONTENDERS.filter(isChosen).flatMap((contender) => absenceLine(contender.name, absenceOf(contender)));
  for (const line of absent) progress(`Left out: ${line}`);

  const session = new Session({
    rounds,
    seconds,
    isWanted: (contender) => isChosen(contender) && absenceOf(contender) === null,
    progress,
  });
  const leftOut = [...absent];
  const done: Suite[] = [];
  for (const suite of chosen) {
    const lines = absenceLine(suite.name, suite.absence());
    leftOut.push(...lines);
    if (lines.length > 0) progress(`Left out: ${lines.join()}`);
    else {
      await suite.run(session);
      done.push(suite);
    }
  }
  return {
    suites: done,
    methods: new Map(done.map((suite) => [suite, suite.method(session)])),
    samples: session.samples,
    failures: session.failures,
    leftOut,
    conditions: conditions(session.wanted(CONTENDERS), rounds, new Date()),
  };
}

function judge({ ratios: before }: Baseline, now: ReturnType<typeof ratiosOf>, { suites }: Arguments): void {
  const verdict = check(
    before.filter(({ suite }) => isChosenSuite(suite, suites)),
    now,
  );
  for (const line of describe(verdict)) console.log(line);
  if (verdict.losses.length > 0) process.exitCode = 1;
}

function list(): void {
  for (const suite of SUITES) console.log(`suite ${suite.name}: ${suite.title}: ${suite.absence() ?? 'ready'}`);
  for (const contender of CONTENDERS) console.log(`contender ${contender.name}: ${absenceOf(contender) ?? 'ready'}`);
}

function absenceLine(name: string, absence: string | null): string[] {
  return absence === null ? [] : [`${name}: ${absence}`];
}

const CONTENDERS: readonly Contender[] = [DIRECT, ...DIRECT_ON_WAN, ...TUNNELS, ...HUBS];

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    progress(`${signal}: cleaning up`);
    void interrupt().finally(() => process.exit(1));
  });

try {
  await bench();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
