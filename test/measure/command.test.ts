import { readdirSync } from 'node:fs';
import { type Test, test } from 'tap';
import { benchHelp } from '../../src/measure/help.ts';
import { BENCH_FLAGS } from '../../src/measure/flags.ts';
import type { Results } from '../../src/measure/results.ts';
import { BIN, qtunnel, type Result } from '../cli/command.ts';
import { temporaryFolder } from '../support/files.ts';
import { type Program, start } from '../support/process.ts';
import { echoServer } from '../support/tcp.ts';

const QUICK = ['-seconds=1', '-connections=3', '-sizes=64', '-transfers=20'];
/** It measures by the clock, with several processes, on a machine that may be busy. */
const DEADLINE_MS = 120_000;
const SECRET = 'the secret of the tests';

function bench(t: Test, words: readonly string[], env: Record<string, string> = {}): Program {
  return start(t, process.execPath, [BIN, 'bench', ...words], { env: { QTUNNEL_STATE_DIR: temporaryFolder(t), ...env } });
}

/** Runs it to its end. */
function measured(t: Test, words: readonly string[], env: Record<string, string> = {}): Promise<Result> {
  return qtunnel(t, ['bench', ...words], env, { deadline: DEADLINE_MS });
}

/** Starts a far end and returns it with its port. */
async function farEnd(
  t: Test,
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<{ far: Program; port: string }> {
  const far = bench(t, ['-server', '-listen=127.0.0.1:0', ...words], env);
  await far.line(/^Ctrl-C ends it$/);
  return { far, port: /127\.0\.0\.1:(\d+)/.exec(far.output)![1]! };
}

test('alone: both ends here, as JSON', async (t) => {
  const { code, stdout, stderr } = await measured(t, ['-json', ...QUICK]);
  const results = JSON.parse(stdout) as Results;
  t.match(results, {
    backend: null,
    secondsEach: 1,
    problems: [],
    complete: true,
    qtunnel: String,
    date: String,
    node: process.version,
  });
  t.same(
    results.paths.map(({ path, linksLost }) => [path, linksLost]),
    [
      ['quic', 0],
      ['tcp', 0],
      ['direct', 0],
    ],
  );
  const paths = results.paths.map(({ path }) => path);
  const directions = ['up', 'up', 'up', 'down', 'down', 'down'];
  t.match(
    results.throughput,
    [...paths, ...paths].map((path, index) => ({
      path,
      direction: directions[index],
      connections: 3,
      writeSize: 65_536,
      failed: 0,
    })),
  );
  t.match(
    results.sizes,
    paths.map((path) => ({ path, direction: 'up', connections: 1, writeSize: 64, failed: 0 })),
  );
  for (const { bytes, seconds, bytesPerSecond } of [...results.throughput, ...results.sizes]) {
    t.ok(bytes > 0 && seconds > 0);
    t.equal(bytesPerSecond, Math.round(bytesPerSecond));
  }
  t.match(
    results.latency,
    paths.map((path) => ({
      path,
      size: 64,
      roundTrip: { count: Number, p50: Number, p90: Number, p99: Number, p999: Number, max: Number },
    })),
  );
  t.match(
    results.reliability,
    paths.map((path) => ({ path, transfers: 20, whole: 20, wrong: 0, failed: 0, skipped: 0, reasons: {} })),
  );
  t.equal(code, 0);
  const lines = stderr
    .trimEnd()
    .split('\n')
    .filter((line) => line.startsWith('['));
  t.equal(lines.length, 15, stderr);
  t.match(lines.at(-1), /^\[15\/15\] direct TCP, 20 transfers: 20 of 20 whole$/);
});

test('two ends: the far one makes a secret up and prints the command for the near one; Ctrl-C ends it with 0', async (t) => {
  const { far, port } = await farEnd(t, ['-direct=127.0.0.1:0']);
  const command = /qtunnel bench (-backend=127\.0\.0\.1:\d+ -secret=[0-9a-f]{24})$/m.exec(far.output)![1]!;
  const near = await measured(t, [...command.split(' '), ...QUICK, '-tests=reliability,latency']);
  t.equal(near.code, 0, near.stderr);
  t.match(near.stdout, new RegExp(`^qtunnel bench \\S+: 127\\.0\\.0\\.1:${port}\n`));
  t.match(
    near.stdout,
    /^Transfers with hash +whole +wrong +failed +skipped +MB\n  QUIC +20 .*\n  TCP mode +20 .*\n  direct TCP +20 /m,
  );
  await far.line(/ is here over QUIC$/);
  await far.line(/ is gone: /);

  const stranger = await measured(t, [`-backend=127.0.0.1:${port}`, '-secret=another', ...QUICK]);
  t.equal(stranger.code, 1);
  t.match(
    stranger.stderr,
    /^qtunnel: No bench can be reached at 127\.0\.0\.1:\d+ over TCP mode: The server closed .* its secret differs; .*\n$/,
  );
  t.equal(stranger.stdout, '');

  t.same(await far.kill('SIGINT'), { code: 0, signal: null });
  // Nothing of it is left: its port is free again.
  const next = bench(t, ['-server', `-listen=127.0.0.1:${port}`]);
  await next.line(/^Ctrl-C ends it$/);
});

test('a far end that was given a secret does not show it; one without UDP is said so, and TCP mode measured', async (t) => {
  const { far, port } = await farEnd(t, ['-quic=false'], { QTUNNEL_SECRET: SECRET });
  t.match(far.output, /bench -backend=127\.0\.0\.1:\d+ -quic=false -secret-file=FILE-WITH-THE-SAME-SECRET/);
  t.notMatch(far.output, SECRET);

  const near = await measured(t, [`-backend=127.0.0.1:${port}`, '-tests=reliability', '-transfers=5', '-json'], {
    QTUNNEL_SECRET: SECRET,
  });
  t.equal(near.code, 1);
  t.match(JSON.parse(near.stdout), {
    paths: [{ path: 'tcp' }],
    reliability: [{ path: 'tcp', whole: 5 }],
    problems: [{ path: 'quic', code: 'LINK_REFUSED', message: 'Nothing listens on the UDP port.' }],
    complete: true,
  });
});

test('a server with something else behind it is no bench', async (t) => {
  const port = await echoServer(t);
  const env = { QTUNNEL_SECRET: SECRET, QTUNNEL_STATE_DIR: temporaryFolder(t) };
  const flags = ['-listen=127.0.0.1:0', `-backend=127.0.0.1:${port}`, '-log-format=json'];
  const server = start(t, process.execPath, [BIN, ...flags], { env });
  const listening = JSON.parse(await server.line(/"event":"listening"/)) as { tcp: string };
  const { code, stderr } = await measured(t, [`-backend=${listening.tcp}`, '-quic=false'], { QTUNNEL_SECRET: SECRET });
  t.equal(
    stderr,
    `qtunnel: No bench can be reached at ${listening.tcp} over TCP mode: no bench answers behind the server: start it there with qtunnel bench -server.\n`,
  );
  t.equal(code, 1);
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} ends it with what was measured by then, and leaves nothing behind`, async (t) => {
    const folder = temporaryFolder(t);
    const near = bench(t, ['-json', '-tests=reliability,latency', '-sizes=64', '-seconds=1', '-transfers=100000'], {
      TMPDIR: folder,
    });
    await near.line(/^\[3\/6\] /);
    t.equal(readdirSync(folder).length, 1, 'its temporary folder');
    const { code } = await near.kill(signal);
    t.equal(code, 1);
    const json = near.lines.filter((line) => !line.startsWith('[') && !/^(qtunnel bench|QUIC|\d+ measure)/.test(line)).join('\n');
    const results = JSON.parse(json) as Results;
    t.equal(results.complete, false);
    t.equal(results.latency.length, 3);
    t.equal(results.reliability.length, 0);
    t.same(readdirSync(folder), []);
  });
}

test('-help has every flag of its own, what it prints fits 80 columns, and qtunnel -help leads there', async (t) => {
  const [help, main] = await Promise.all([qtunnel(t, ['bench', '-help']), qtunnel(t, ['-help'])]);
  t.match(help, { code: 0, stderr: '', stdout: benchHelp(false) });
  t.same(
    help.stdout.split('\n').filter((line) => line.length > 80),
    [],
  );
  for (const { name, group } of BENCH_FLAGS) {
    if (['Two hosts', 'What is measured', 'Who the peer is'].includes(group))
      t.match(help.stdout, new RegExp(`^  -${name}[= ]`, 'm'), name);
  }
  t.match(main.stdout, /qtunnel bench -help/);
});
