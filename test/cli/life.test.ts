import { EventEmitter, once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Test, test } from 'tap';
import { untilStopped } from '../../src/cli/life.ts';
import type { Configuration } from '../../src/config/load.ts';
import { settingsFromOptions } from '../../src/config/options.ts';
import type { ProcessSettings, TunnelSettings } from '../../src/config/settings.ts';
import { QtunnelError } from '../../src/errors.ts';
import { createLog } from '../../src/observe/log.ts';

const PROCESS: ProcessSettings = {
  metrics: null,
  workers: 1,
  supervise: false,
  maxMemory: null,
  hangTimeout: 10_000,
  logto: 'stderr',
  logLevel: 'info',
  logFormat: 'json',
};

/** Tunnels that are none: what they were told, and ends that the test decides. */
class FakeTunnels extends EventEmitter {
  readonly reloads: (readonly TunnelSettings[])[] = [];
  drains = 0;
  closed = false;
  fail!: (error: QtunnelError) => void;
  drained!: (all: boolean) => void;
  readonly failed = new Promise<QtunnelError>((resolve) => (this.fail = resolve));
  readonly #drained = new Promise<boolean>((resolve) => (this.drained = resolve));

  async reload(tunnels: readonly TunnelSettings[]): Promise<void> {
    this.reloads.push(tunnels);
    this.emit('reload');
  }

  drain(): Promise<boolean> {
    this.drains++;
    return this.#drained;
  }

  async answer(): Promise<void> {}

  async close(): Promise<void> {
    this.closed = true;
  }
}

async function live(t: Test, load: () => Configuration) {
  const file = path.join(t.testdir(), 'log');
  const log = await createLog({ ...PROCESS, logto: file });
  const running = new FakeTunnels();
  const signals = new EventEmitter();
  const ended = untilStopped(running, { log, load, current: { ...PROCESS, logto: file }, signals });
  const logged = async () => {
    await log.close();
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  };
  return { running, signals, ended, logged, file };
}

function configuration(file: string, logLevel: ProcessSettings['logLevel'] = 'info'): Configuration {
  return { tunnels: [settingsFromOptions({})], process: { ...PROCESS, logto: file, logLevel }, warnings: [] };
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal}: 0 when all connections ended by themselves, 1 when they were cut off`, async (t) => {
    for (const [all, code] of [
      [true, 0],
      [false, 1],
    ] as const) {
      const { running, signals, ended } = await live(t, () => configuration(''));
      signals.emit(signal, signal);
      t.equal(running.drains, 1);
      t.equal(running.closed, false, 'it waits for the connections');
      running.drained(all);
      t.equal(await ended, code);
      t.equal(running.closed, true);
      t.same(signals.eventNames(), [], 'nobody listens any more');
    }
  });
}

test('a second signal ends at once', async (t) => {
  const { running, signals, ended } = await live(t, () => configuration(''));
  signals.emit('SIGTERM', 'SIGTERM');
  signals.emit('SIGINT', 'SIGINT');
  t.equal(await ended, 1);
  t.equal(running.drains, 1);
  t.equal(running.closed, true);
});

test('a failure ends it with 1 and its sentence in the log', async (t) => {
  const { running, ended, logged } = await live(t, () => configuration(''));
  running.fail(new QtunnelError('LISTEN_FAILED', 'Port 1 is taken.'));
  t.equal(await ended, 1);
  t.match(await logged(), [{ level: 'error', msg: 'Port 1 is taken.', err: { code: 'LISTEN_FAILED' } }]);
});

test('an exception that nobody caught ends it with 1 and its stack in the log', async (t) => {
  const { signals, ended, logged } = await live(t, () => configuration(''));
  signals.emit('uncaughtException', new TypeError('x is not a function'));
  t.equal(await ended, 1);
  t.match(await logged(), [{ level: 'error', err: { message: 'x is not a function', stack: /life\.test/ } }]);
});

test('SIGHUP hands over good settings; bad ones change nothing and are reported', async (t) => {
  const outcomes: (() => Configuration)[] = [
    () => {
      throw new QtunnelError('CONFIG_INVALID', 'tunnels.yaml:3: lisen: unknown key');
    },
    () => configuration(file, 'warn'),
  ];
  const { running, signals, ended, logged, file } = await live(t, () => outcomes.shift()!());
  const reloaded = once(running, 'reload');
  signals.emit('SIGHUP', 'SIGHUP');
  signals.emit('SIGHUP', 'SIGHUP');
  await reloaded;
  t.same(running.reloads, [configuration(file).tunnels], 'once, with the good ones');
  signals.emit('SIGTERM', 'SIGTERM');
  running.drained(true);
  t.equal(await ended, 0);
  const lines = await logged();
  t.match(lines[0], {
    level: 'error',
    event: 'reload_failed',
    msg: 'the configuration stays as it was: tunnels.yaml:3: lisen: unknown key',
  });
  t.equal(lines.length, 1, 'the new log level holds at once');
});

test('SIGHUP with what only a restart can change says so', async (t) => {
  const { running, signals, ended, logged } = await live(t, () => ({
    ...configuration('elsewhere'),
    process: { ...PROCESS, logto: 'elsewhere', metrics: { host: '', port: 1 }, logFormat: 'pretty' },
  }));
  const reloaded = once(running, 'reload');
  signals.emit('SIGHUP', 'SIGHUP');
  await reloaded;
  running.fail(new QtunnelError('ABORTED', 'enough'));
  await ended;
  t.match(await logged(), [
    { msg: 'metrics, logto, log-format changed; that takes effect after a restart' },
    { event: 'reloaded' },
    {},
  ]);
});
