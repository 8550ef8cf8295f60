import { test } from 'tap';
import type { Finding, Step } from '../../src/measure/plan.ts';
import type { PathName, Results } from '../../src/measure/results.ts';
import { TextScreen } from '../../src/measure/screen.ts';
import { notesOf } from '../../src/measure/table.ts';

class Recorder {
  readonly isTTY: boolean;
  readonly columns = 60;
  text = '';

  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }

  write(text: string): void {
    this.text += text;
  }

  /** What stands on a terminal's screen in the end. */
  get shown(): string {
    return this.text
      .split('\n')
      .map((line) => line.split('\r').reduce(overwritten, ''))
      .join('\n');
  }
}

/** What a line of a terminal shows when `text` is written from its first column on. */
function overwritten(before: string, text: string): string {
  const [visible = '', behind] = text.split('\u001b[K');
  return behind === undefined ? visible + before.slice(visible.length) : visible + behind;
}

const PATHS: PathName[] = ['quic', 'direct'];
const STEPS: Step[] = [
  { test: 'throughput', plan: { direction: 'up', connections: 10, writeSize: 65_536, seconds: 2 } },
  { test: 'latency', plan: { size: 64, seconds: 2 } },
  { test: 'reliability', plan: { transfers: 3 } },
];

function findingOf(step: Step, path: PathName): Finding {
  switch (step.test) {
    case 'throughput':
    case 'sizes':
      return {
        test: step.test,
        figure: { path, ...step.plan, failed: 0, bytes: 2_468_000_000, seconds: 2, bytesPerSecond: 1.234e9 },
      };
    case 'latency': {
      const roundTrip = path === 'quic' ? { count: 1234, p50: 0.0214, p90: 1.5, p99: 12.345, p999: 123.456, max: 1234.5 } : null;
      return { test: 'latency', figure: { path, size: 64, roundTrip } };
    }
    case 'reliability':
      return {
        test: 'reliability',
        figure: { path, transfers: 3, whole: 2, wrong: 0, failed: 1, skipped: 0, bytes: 1e6, reasons: { ECONNRESET: 1 } },
      };
  }
}

function run(out: Recorder, err: Recorder, json = false): void {
  const screen = new TextScreen(out, err, { json, colour: false });
  screen.prepare('starting');
  screen.say('qtunnel bench');
  screen.begin(PATHS, STEPS);
  for (const step of STEPS) {
    const findings = PATHS.map((path) => {
      screen.going(step, path, '');
      screen.going(step, path, '5 MB/s');
      const finding = findingOf(step, path);
      screen.found(step, path, finding);
      return finding;
    });
    screen.row({ step, findings });
  }
  screen.end();
}

const TABLE = `qtunnel bench

Throughput, MB/s                 QUIC  direct TCP
    10 connections up            1234        1234

Round trip, ms                 p50      p90      p99    p99.9      max     count
     64 B  QUIC              0.021    1.500    12.35    123.5     1235      1234
           direct TCP            –        –        –        –        –         0

Transfers with hash          whole    wrong   failed  skipped       MB
  QUIC                           2        0        1        0     1.00
  direct TCP                     2        0        1        0     1.00
`;

test('in a pipe: the table alone on standard output, a line for each measurement on standard error', async (t) => {
  const [out, err] = [new Recorder(false), new Recorder(false)];
  run(out, err);
  t.equal(out.text, TABLE);
  t.equal(
    err.text,
    `[1/6] QUIC, 10 connections, up: 1234 MB/s
[2/6] direct TCP, 10 connections, up: 1234 MB/s
[3/6] QUIC, round trips of 64 B: p50 0.021 ms, p99 12.35 ms
[4/6] direct TCP, round trips of 64 B: none came back
[5/6] QUIC, 3 transfers: 2 of 3 whole
[6/6] direct TCP, 3 transfers: 2 of 3 whole
`,
  );
  t.ok(TABLE.split('\n').every((line) => line.length <= 80));
});

test('on a terminal: the same table grows, and of the progress line nothing is left', async (t) => {
  const terminal = new Recorder(true);
  run(terminal, terminal);
  t.equal(terminal.shown, TABLE);
  const progress = terminal.text.split('\r').filter((part) => part.startsWith('['));
  t.ok(progress.some((line) => line.startsWith('[1/6] QUIC, 10 connections, up: 5 MB/s · about 10 s left')));
  for (const line of progress) t.ok(line.split('\u001b', 1)[0]!.length < 60, line);
});

test('with -json standard output is left alone', async (t) => {
  const [out, err] = [new Recorder(false), new Recorder(false)];
  run(out, err, true);
  t.equal(out.text, '');
  t.match(err.text, /^qtunnel bench\n\[1\/6\] /);
});

test('what did not go well is said below the table', async (t) => {
  const reliability = PATHS.map((path) => findingOf(STEPS[2]!, path).figure) as Results['reliability'];
  const well: Results = {
    ...{ qtunnel: '0', date: '', node: '', backend: null, secondsEach: 2, latency: [], sizes: [], throughput: [], problems: [] },
    paths: [{ path: 'quic', rtt: 1, linksLost: 0 }],
    reliability: reliability.map((figure) => ({ ...figure, reasons: {} })),
    complete: true,
  };
  t.same(notesOf(well), []);
  t.same(
    notesOf({
      ...well,
      paths: [{ path: 'quic', rtt: 1, linksLost: 2 }],
      problems: [{ path: 'tcp', code: 'LINK_REFUSED', message: 'Nothing listens.' }],
      reliability: reliability.slice(0, 1),
      complete: false,
    }),
    [
      'TCP mode could not be measured: Nothing listens.',
      'QUIC: the link was lost 2 times.',
      'QUIC: transfers failed with ECONNRESET (1).',
      'It was stopped before everything was measured.',
    ],
  );
});
