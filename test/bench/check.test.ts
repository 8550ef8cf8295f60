import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import type { Column, Sample } from '../../bench/figures.ts';
import { readBaseline, writeBaseline } from '../../bench/report/baseline.ts';
import { check, describe, ratiosOf } from '../../bench/report/check.ts';
import type { Ratio } from '../../bench/report/check.ts';

test('a ratio is taken round by round, to the first reference that was measured', async (t) => {
  // The machine was half as fast in the second round: no reason for another ratio.
  const samples = [...both(1, 500, 1000), ...both(2, 250, 500), ...both(3, 600, 1000), sample('direct TCP', 3000)];
  t.same(ratiosOf([suite()], samples), [ratio({ ratio: 0.5 })]);

  const withoutStunnel = samples.filter(({ row }) => row !== 'stunnel');
  t.same(ratiosOf([suite()], withoutStunnel), [ratio({ to: 'direct TCP', ratio: 500 / 3000 })]);
  t.same(
    ratiosOf(
      [suite()],
      samples.filter(({ row }) => row === 'qtunnel QUIC'),
    ),
    [],
    'nothing to compare with',
  );
});

test('several samples of a round count as their median, and columns that are not checked not at all', async (t) => {
  const samples = [sample('qtunnel QUIC', 100), sample('qtunnel QUIC', 400), sample('qtunnel QUIC', 200), sample('stunnel', 400)];
  t.same(ratiosOf([suite()], [...samples, ...both(1, 1, 9, 'p99')]), [ratio({ ratio: 0.5 })]);
});

test('a loss of more than 15% is one, in the direction that is worse', async (t) => {
  t.equal(losses({ ratio: 1 }, 0.86), 0);
  t.equal(losses({ ratio: 1 }, 0.84), 1);
  t.equal(losses({ ratio: 1 }, 2), 0);
  t.equal(losses({ ratio: 1, better: 'lower' }, 1.14), 0);
  t.equal(losses({ ratio: 1, better: 'lower' }, 1.16), 1);
  t.equal(losses({ ratio: 1, better: 'lower' }, 0.2), 0);
});

test('the verdict names what was lost and what could not be compared', async (t) => {
  const verdict = check([ratio({ ratio: 1 }), ratio({ suite: 'wan' })], [ratio({ ratio: 0.5 }), ratio({ column: 'new' })]);
  t.equal(verdict.compared, 1);
  const lines = describe(verdict);
  t.match(lines[0], /LOST 50%: loopback, qtunnel QUIC, 1 up \(to stunnel\): 1\.00 before, 0\.50 now/);
  t.match(lines[1], /wan, qtunnel QUIC, 1 up/);
  t.match(lines[2], /1 ratios compared with the baseline, 1 worse/);
});

test('a baseline keeps the suites that were not measured again', async (t) => {
  const file = join(t.testdir({}), 'baseline.json');
  t.throws(() => readBaseline(file), /--write-baseline/);
  writeBaseline(['- then'], [ratio({ ratio: 1 }), ratio({ suite: 'wan', ratio: 2 })], file);
  writeBaseline(['- now'], [ratio({ ratio: 1 / 3 })], file);
  t.same(readBaseline(file), { conditions: ['- now'], ratios: [ratio({ suite: 'wan', ratio: 2 }), ratio({ ratio: 0.3333 })] });
  t.match(readFileSync(file, 'utf8'), /\n$/);
});

function losses(before: Partial<Ratio>, after: number): number {
  return check([ratio(before)], [ratio({ ...before, ratio: after })]).losses.length;
}

function both(round: number, own: number, others: number, column = '1 up'): Sample[] {
  return [sample('qtunnel QUIC', own, round, column), sample('stunnel', others, round, column)];
}

function sample(row: string, value: number, round = 1, column = '1 up'): Sample {
  return { suite: 'loopback', row, column, round, value };
}

function ratio(changes: Partial<Ratio>): Ratio {
  return { suite: 'loopback', row: 'qtunnel QUIC', column: '1 up', better: 'higher', to: 'stunnel', ratio: 1, ...changes };
}

/** A function, as the first test begins while the module is still being loaded. */
function suite(): Parameters<typeof ratiosOf>[0][number] {
  const speed: Column = { name: '1 up', unit: 'MB/s', digits: 0, better: 'higher', checked: true };
  return { name: 'loopback', columns: [speed, { ...speed, name: 'p99', checked: false }], references: ['stunnel', 'direct TCP'] };
}
