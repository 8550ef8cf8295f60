import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { createLog } from '../../src/observe/log.ts';

const SETTINGS = { logLevel: 'info', logFormat: 'json' } as const;

function linesOf(file: string): Record<string, unknown>[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a file in JSON: time, level, fields, message; mode 0640; kept when opened again', async (t) => {
  const logto = path.join(t.testdir(), 'q.log');
  for (const msg of ['one', 'two']) {
    const { log, close } = await createLog({ ...SETTINGS, logto });
    log.child({ tag: 'web' }).info({ peer: 'a:1' }, msg);
    log.debug('not at this level');
    await close();
  }
  const lines = linesOf(logto);
  t.match(lines, [
    { level: 'info', tag: 'web', peer: 'a:1', msg: 'one', time: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/ },
    { level: 'info', msg: 'two' },
  ]);
  t.same(Object.keys(lines[0]!).toSorted(), ['level', 'msg', 'peer', 'tag', 'time']);
  t.equal(statSync(logto).mode & 0o777 & ~0o640, 0);
});

test('a file is opened again after a rotation', async (t) => {
  const logto = path.join(t.testdir(), 'q.log');
  const { log, reopen, close } = await createLog({ ...SETTINGS, logto });
  log.info('before');
  renameSync(logto, `${logto}.1`);
  reopen();
  log.info('after');
  await close();
  const everything = [`${logto}.1`, logto].filter((file) => existsSync(file)).flatMap(linesOf);
  t.same(
    everything.map(({ msg }) => msg),
    ['before', 'after'],
  );
  t.match(linesOf(logto).at(-1), { msg: 'after' });
});

test('a file that cannot be written is refused at the start', async (t) => {
  const logto = path.join(t.testdir(), 'none', 'q.log');
  await t.rejects(createLog({ ...SETTINGS, logto }), { code: 'FILE_UNWRITABLE' });
  await t.rejects(createLog({ ...SETTINGS, logto: t.testdir() }), { code: 'FILE_UNWRITABLE' });
});

test('pretty: one line with level, tag, message, key=value; nothing that a terminal would obey', async (t) => {
  const logto = path.join(t.testdir(), 'q.log');
  const { log, close } = await createLog({ ...SETTINGS, logFormat: 'pretty', logto });
  log
    .child({ tunnel: 'web' })
    .info({ event: 'link_up', streams: 5, peer: 'a:1', software: 'x y\u001b[2J', list: ['a', 'b'] }, 'the link is up\nreally');
  log.warn({ err: new QtunnelError('LINK_LOST', 'gone', { cause: new Error('why') }) }, 'lost');
  await close();
  const [first = '', second = '', ...more] = readFileSync(logto, 'utf8').trim().split('\n');
  t.match(
    first,
    /^\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]? INFO +:? ?web: the link is up\\x0areally streams=5 software="x y\\u001b\[2J" list=a,b$/,
  );
  t.match(second, /WARN.* lost err.code=LINK_LOST err.message=gone err.cause=why$/);
  t.same(more, []);
});

test('stacks of expected errors only at debug', async (t) => {
  const folder = t.testdir();
  for (const logLevel of ['info', 'debug'] as const) {
    const logto = path.join(folder, logLevel);
    const { log, close } = await createLog({ ...SETTINGS, logLevel, logto });
    log.error({ err: new QtunnelError('LINK_LOST', 'gone') }, 'x');
    log.error({ err: new TypeError('a bug') }, 'y');
    await close();
    const [expected, bug] = linesOf(logto);
    t.equal('stack' in (expected!['err'] as object), logLevel === 'debug');
    t.match(bug, { err: { stack: /log\.test/ } });
  }
});

test('secrets are masked, should somebody log settings', async (t) => {
  const logto = path.join(t.testdir(), 'q.log');
  const { log, close } = await createLog({ ...SETTINGS, logto });
  log.info({ secret: 'hush', settings: { secret: 'hush', secretFile: '/s' } }, 'x');
  await close();
  t.notMatch(readFileSync(logto, 'utf8'), 'hush');
  t.match(linesOf(logto)[0], { secret: '******', settings: { secretFile: '/s' } });
});
