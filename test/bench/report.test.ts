import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { median, summarize } from '../../bench/figures.ts';
import type { Column, Sample } from '../../bench/figures.ts';
import { drawChart } from '../../bench/report/chart.ts';
import { assembleReport, publish } from '../../bench/report/publish.ts';
import type { Results } from '../../bench/report/publish.ts';
import { overview, table } from '../../bench/report/table.ts';
import type { Suite } from '../../bench/suite.ts';

test('the median is the middle, or between the two in the middle, whatever the order', async (t) => {
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([10, 1, 9, 2]), 5.5);
  t.equal(median([7]), 7);
  t.same(summarize([sample('a', 3), sample('a', 1, 2), sample('a', 8, 3)]), { median: 3, lowest: 1, highest: 8 });
  t.equal(summarize([]), null);
});

test('a table has the median and the range, a dash where there is nothing, and what failed', async (t) => {
  const samples = [
    sample('stunnel', 100),
    sample('stunnel', 300, 2),
    sample('stunnel', 150, 3),
    { ...sample('other', 5), suite: 'other' },
  ];
  const failure = { suite: 'loopback', row: 'trojan', what: 'bulk', message: 'it ended' };
  t.equal(
    table(SUITE, samples, [failure, failure, { ...failure, suite: 'wan' }]),
    [
      '|  | 1 up, MB/s | CPU, s/GB |',
      '| --- | --- | --- |',
      '| stunnel | 150 (100–300) | – |',
      '',
      'Failed:',
      '',
      '- trojan, bulk: it ended (2 times)',
    ].join('\n'),
  );
  t.match(table(SUITE, [sample('stunnel', 100)], []), /\| 100 \|/, 'no range of one round');
});

test('an overview has the contenders as columns, and the medians of a row’s columns in one cell', async (t) => {
  const samples = [
    sample('stunnel', 1),
    sample('stunnel', 3, 2),
    { ...sample('stunnel', 9), column: CPU.name },
    sample('ssh -L', 5),
  ];
  t.equal(
    overview([{ name: 'clean', columns: ['1 up', CPU.name] }], 'loopback', samples),
    ['|  | stunnel | ssh -L |', '| --- | --- | --- |', '| clean | 2.0 / 9.0 | 5.0 / – |'].join('\n'),
  );
});

test('a chart is an SVG with its title, the rows that have values, and the values', async (t) => {
  const bars = drawChart(SUITE.charts[0]!, 'loopback', [sample('stunnel', 839.6), sample('qtunnel QUIC', 1234.5), CPU_ONLY]);
  t.match(bars, /^<svg /);
  for (const text of ['Throughput', 'stunnel', 'qtunnel QUIC', '840', '1230']) t.ok(bars.includes(`>${text}<`), text);
  t.notOk(bars.includes('ssh -L'), 'a row without values');

  const lines = drawChart(
    { ...SUITE.charts[0]!, over: { axis: 'streams', at: [1, 10] }, columns: ['1 up', CPU.name] },
    'loopback',
    [sample('stunnel', 100), { ...sample('stunnel', 50), column: CPU.name }],
  );
  t.ok(lines.includes('>streams<') && lines.includes('>stunnel<'));
});

test('the report says when and where, what was left out, and names its charts, which are written beside it', async (t) => {
  const report = assembleReport(RESULTS);
  for (const part of [
    '- a machine',
    '- kcptun: not installed',
    '## Loopback',
    '| stunnel | 100 |',
    'How it was done.',
    '](chart.svg)',
  ])
    t.ok(report.includes(part), part);

  const folder = join(t.testdir({}), 'run');
  t.equal(readFileSync(publish(RESULTS, folder), 'utf8'), report);
  t.match(readFileSync(join(folder, 'chart.svg'), 'utf8'), /^<svg /);
  t.same(JSON.parse(readFileSync(join(folder, 'samples.json'), 'utf8')), RESULTS.samples);
});

function sample(row: string, value: number, round = 1): Sample {
  return { suite: 'loopback', row, column: '1 up', round, value };
}

const SPEED: Column = { name: '1 up', unit: 'MB/s', digits: 0, better: 'higher', checked: true };
const CPU: Column = { name: 'CPU', unit: 's/GB', digits: 1, better: 'lower', checked: true };
const CPU_ONLY: Sample = { suite: 'loopback', row: 'ssh -L', column: CPU.name, round: 1, value: 2 };
const SUITE: Suite = {
  name: 'loopback',
  title: 'Loopback',
  method: () => 'How it was done.',
  columns: [SPEED, CPU],
  charts: [{ name: 'chart', title: 'Throughput', axis: 'MB/s', columns: ['1 up'] }],
  references: ['stunnel'],
  absence: () => null,
  run: async () => {},
};
const RESULTS: Results = {
  suites: [SUITE],
  methods: new Map([[SUITE, 'How it was done.']]),
  samples: [sample('stunnel', 100)],
  failures: [],
  leftOut: ['kcptun: not installed'],
  conditions: ['- a machine'],
};
