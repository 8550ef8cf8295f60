import { test } from 'tap';
import { isChosenSuite, readArguments } from '../../bench/arguments.ts';
import type { Contender } from '../../bench/contender.ts';
import { absenceOf } from '../../bench/launch.ts';
import { makePath } from '../../bench/paths.ts';
import { cpuSeconds, residentBytes } from '../support/processes.ts';
import { interrupt, withScope } from '../support/scope.ts';
import { Session } from '../../bench/session.ts';
import { loopbackSite } from '../../bench/site.ts';
import { start } from '../support/process.ts';

test('arguments: defaults, lists with commas, and one sentence for what makes no sense', async (t) => {
  t.match(readArguments([], ['wan', 'memory']), {
    suites: ['wan', 'memory'],
    only: [],
    rounds: 3,
    seconds: 5,
    check: false,
    list: false,
  });
  t.same(readArguments(['--suite=memory'], ['wan', 'memory']).suites, ['memory']);
  t.same(readArguments(['--suite=wan,memory'], ['wan', 'memory']).suites, ['wan', 'memory']);
  t.same(readArguments(['--only=ssh,qtunnel', '--only', 'kcp'], []).only, ['ssh', 'qtunnel', 'kcp']);
  t.ok(readArguments(['--write-baseline', '--rounds=1'], []).writeBaseline);
  t.throws(() => readArguments(['--suite=nothing'], ['wan']), /"wan"/);
  t.throws(() => readArguments(['--rounds=0'], []), /--rounds is a whole number from 1 on, not "0"/);
  t.throws(() => readArguments(['--fast'], []), /fast/);
});

test('a suite is chosen by its name, or by what its parts begin with', async (t) => {
  t.ok(isChosenSuite('hub', ['wan', 'hub']));
  t.ok(isChosenSuite('hub-idle', ['hub']));
  t.notOk(isChosenSuite('hub', ['hub-idle']));
  t.notOk(isChosenSuite('hubris', ['hub']));
});

test('rounds go through all contenders, one after the other', async (t) => {
  const seen: string[] = [];
  const session = makeSession({ rounds: 2, isWanted: ({ name }) => name !== 'b' });
  await session.eachInTurn(
    [contender('a'), contender('b'), contender('c')],
    async ({ name }, round) => void seen.push(`${name}${round}`),
  );
  t.same(seen, ['a1', 'c1', 'a2', 'c2']);
});

test('what fails is noted, keeps what came before, stops the contender, and lets the run go on', async (t) => {
  const session = makeSession({});
  let stopped = false;
  const failing = contender('a', async ({ run }) => {
    run('server', 'sleep', ['60']).exited.then(
      () => (stopped = true),
      () => {},
    );
    return { host: '127.0.0.1', port: 1 };
  });
  const setup = { contender: failing, site: loopbackSite(), backendPort: 1, what: 'bulk' };
  await session.measure({ suite: 's', round: 1 }, setup, async (running, record) => {
    t.ok(residentBytes(running.pids.server) > 0);
    t.same(running.pids.client, []);
    record({ x: 1 });
    throw new Error('\nit broke\nsomewhere');
  });
  t.ok(stopped);
  t.same(session.samples, [{ suite: 's', row: 'a', column: 'x', round: 1, value: 1 }]);
  t.same(session.failures, [{ suite: 's', row: 'a', what: 'bulk', message: 'it broke' }]);
});

test('CPU time and memory count what a process has started too', { skip: process.platform !== 'linux' }, async (t) => {
  // It ends with its standard input.
  const script = 'for (let i = 0; i < 3e8; i++); console.log("busy"); process.stdin.resume()';
  const shell = start(t, 'sh', ['-c', '"$0" -e "$1"; true', process.execPath, script]);
  await shell.line(/busy/);
  t.ok(cpuSeconds([shell.pid]) > 0.05);
  t.ok(residentBytes([shell.pid]) > 20e6);
  shell.child.stdin!.end();
  await shell.end();
  t.equal(residentBytes([shell.pid]), 0, 'a process that is gone');
});

test('a contender that is not installed says how to get it', async (t) => {
  const absent = { ...contender('a'), needs: { 'no-such-program': 'no-such-package', sh: 'dash' } };
  t.equal(absenceOf(absent), 'not installed: no-such-program; on Debian: apt-get install no-such-package');
  t.equal(absenceOf(contender('a')), null);
});

test('a path’s queue holds one round trip', async (t) => {
  const { name, path, limit } = makePath({ rtt: 100, rate: 100, loss: 2, burst: 3 });
  t.equal(name, '100 ms, 100 Mbit, 2% loss in bursts of 3');
  t.match(path, { delay: 50, rate: 100, loss: 2, burst: 3, queue: 1221 });
  t.equal(limit, 12.5);
});

// The last test: an interruption is for good.
test('scopes undo the last first, whatever fails; an interruption ends those that are open', async (t) => {
  const undone: string[] = [];
  const failed = withScope(async (scope) => {
    scope.teardown(() => undone.push('first'));
    scope.teardown(async () => undone.push('second'));
    throw new Error('no');
  });
  await t.rejects(failed, /no/);
  t.same(undone, ['second', 'first']);

  await withScope(async (outer) => {
    outer.teardown(() => undone.push('outer'));
    await withScope(async (inner) => {
      inner.teardown(() => undone.push('inner'));
      await interrupt();
      inner.teardown(() => undone.push('late'));
    });
  });
  t.same(undone, ['second', 'first', 'inner', 'outer', 'late'], 'each once');
  await t.rejects(
    withScope(async () => {}),
    /interrupted/,
  );
});

function makeSession(options: Partial<ConstructorParameters<typeof Session>[0]>): Session {
  return new Session({ rounds: 1, seconds: 1, isWanted: () => true, progress: () => {}, ...options });
}

function contender(name: string, run: Contender['start'] = () => Promise.reject(new Error('not started'))): Contender {
  return { name, needs: {}, start: run };
}
