import { type Logger, pino } from 'pino';
import { test } from 'tap';
import { rateLimited } from '../../src/observe/rate-limit.ts';

function collect(): { log: Logger; messages: string[] } {
  const messages: string[] = [];
  const log = pino({}, { write: (line: string) => messages.push((JSON.parse(line) as { msg: string }).msg) });
  return { log, messages };
}

test('so many of a kind in an interval, then how many were left out', (t) => {
  const { log, messages } = collect();
  let now = 1000;
  const limited = rateLimited(log, { burst: 2, intervalMs: 100, now: () => now });
  for (let i = 0; i < 5; i++) limited.warn('garbage', {}, `g${i}`);
  limited.info('version', {}, 'v');
  t.same(messages, ['g0', 'g1', 'v'], 'kinds do not share');
  now = 1099;
  limited.warn('garbage', {}, 'g5');
  t.equal(messages.length, 3);
  now = 1100;
  limited.warn('garbage', {}, 'g6');
  t.same(messages.slice(3), ['4 more lines like this were left out', 'g6']);
  now = 1200;
  limited.warn('garbage', {}, 'g7');
  t.same(messages.slice(5), ['g7'], 'nothing was left out in between');
  t.end();
});

test('flush says what is held back, once', (t) => {
  const { log, messages } = collect();
  const limited = rateLimited(log, { burst: 1, intervalMs: 100, now: () => 0 });
  limited.warn('a', {}, 'a0');
  limited.warn('a', {}, 'a1');
  limited.flush();
  limited.flush();
  t.same(messages, ['a0', '1 more lines like this were left out']);
  t.end();
});
