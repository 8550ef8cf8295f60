import { test } from 'tap';
import { readArguments } from './arguments.ts';
import { demand, Trial } from './experiment.ts';
import type { Experiment } from './experiment.ts';

const [A, B] = ['a', 'b'].map((name): Experiment => ({
  name,
  title: name,
  absence: () => false,
  run: () => Promise.resolve(),
})) as [Experiment, Experiment];

test('names choose experiments, what stands behind a colon their parts; without names all are wanted', async (t) => {
  const all = readArguments([], [A, B]);
  t.same([all.experiments, all.list, all.isWanted(A, 'anything')], [[A, B], false, true]);
  t.ok(readArguments(['-list'], [A, B]).list);

  const { experiments, isWanted } = readArguments(['b:1 GB'], [A, B]);
  t.same(experiments, [B]);
  t.ok(isWanted(B, 'quic: 1 GB up'));
  t.notOk(isWanted(B, 'quic: 1 MB up'));
  t.throws(() => readArguments(['c'], [A, B]), /no experiment "c", but a, b/);
});

test('a part that throws is a failed row; its scope is undone, and the parts after it are done', async (t) => {
  const undone: string[] = [];
  const trial = new Trial(
    (what) => what !== 'unwanted',
    () => {},
  );
  await trial.part('bad', async (owner) => {
    owner.teardown(() => undone.push('bad'));
    demand(undone.length > 0, 'not as it has to be');
    return 'never';
  });
  await trial.part('unwanted', async () => 'never');
  await trial.part('good', async () => '3 of 3');
  t.match(trial.rows, [
    { what: 'bad', passed: false, figures: 'FAILED: not as it has to be' },
    { what: 'good', passed: true, figures: '3 of 3' },
  ]);
  t.equal(trial.rows.length, 2);
  t.same(undone, ['bad']);
});
