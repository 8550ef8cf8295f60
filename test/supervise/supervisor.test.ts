import { pino } from 'pino';
import { test, type Test } from 'tap';
import type { Child, ChildEnd, ChildHandler } from '../../src/supervise/child.ts';
import type { FromChild, SocketHandle, ToChild } from '../../src/supervise/messages.ts';
import { Supervisor } from '../../src/supervise/supervisor.ts';
import { eventually } from '../support/deadline.ts';

class FakeChild implements Child {
  readonly pid: number;
  readonly told: ToChild[] = [];
  readonly sockets: (SocketHandle | undefined)[] = [];
  answers = false;
  pings = 0;
  killed = false;
  readonly #handler: ChildHandler;
  #ended = false;

  constructor(handler: ChildHandler, pid: number) {
    this.#handler = handler;
    this.pid = pid;
  }

  tell(message: ToChild, socket?: SocketHandle): void {
    if (message.type !== 'ping') this.sockets.push(socket);
    if (message.type !== 'ping') return void this.told.push(message);
    this.pings++;
    if (this.answers) this.say({ type: 'pong' });
  }

  kill(): void {
    this.killed = true;
    this.end({ code: null, signal: 'SIGKILL' });
  }

  say(message: FromChild, socket?: SocketHandle): void {
    this.#handler.onMessage(message, socket);
  }

  end(end: ChildEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#handler.onExit(end);
  }
}

class FakeSocket implements SocketHandle {
  readonly fd = 0;
  closed = false;

  close(): void {
    this.closed = true;
  }
}

test('a child is told the sockets that are kept before it begins, with the command line', async (t) => {
  const { children, next, supervisor } = supervise(t);
  const first = await next();
  t.same(first.told, [], 'nothing before it listens');
  first.say({ type: 'hello' });
  t.same(first.told, [{ type: 'begin', words: ['-listen=:1'], restarts: 0, generation: 0, shares: false }]);
  const [kept, dropped] = [new FakeSocket(), new FakeSocket()];
  first.say({ type: 'keep', key: 'tcp  1' }, kept);
  first.say({ type: 'keep', key: 'tcp  2' }, dropped);
  first.say({ type: 'ready', keys: ['tcp  1', 'tcp  2'], obstacle: null });
  first.say({ type: 'release', key: 'tcp  2' });
  t.ok(dropped.closed);
  first.end({ code: null, signal: 'SIGABRT' });

  const second = await next();
  second.say({ type: 'hello' });
  t.same(second.told.slice(0, 2), [
    { type: 'socket', key: 'tcp  1' },
    { type: 'begin', words: ['-listen=:1'], restarts: 1, generation: 0, shares: false },
  ]);
  t.equal(second.sockets[0], kept);
  t.notOk(kept.closed, 'it stays open');
  second.say({ type: 'ready', keys: [], obstacle: null });
  t.ok(kept.closed, 'what the new child does not use is given up');
  t.equal(children.length, 2);
  second.end({ code: 0, signal: null });
  t.equal(await supervisor.ended, 0);
});

test('back-off doubles from 0.1 s while children die, and begins again after a minute up', async (t) => {
  const { next, events } = supervise(t);
  for (let died = 0; died < 3; died++) {
    const child = await next();
    child.say({ type: 'ready', keys: [], obstacle: null });
    child.end({ code: 1, signal: null });
  }
  t.same(
    events('restarting').map((line) => line['delay_ms']),
    [100, 200, 400],
  );
  t.same(
    events('child_died').map((line) => line['code']),
    [1, 1, 1],
  );
});

test('what the user has to correct is not tried again, nor what never worked; a crash is', async (t) => {
  for (const [end, worked, code] of [
    [{ code: 2, signal: null }, true, 2],
    [{ code: 2, signal: null }, false, 2],
    [{ code: 1, signal: null }, false, 1],
  ] as const) {
    const { children, next, supervisor } = supervise(t);
    const child = await next();
    if (worked) child.say({ type: 'ready', keys: [], obstacle: null });
    child.end(end);
    t.equal(await supervisor.ended, code);
    t.equal(children.length, 1);
  }
  const { next } = supervise(t);
  (await next()).end({ code: null, signal: 'SIGSEGV' });
  t.ok(await next(), 'a crash before it was ready');
});

test('a child that does not answer is killed and started again; one that does is not', async (t) => {
  const { next, events } = supervise(t, { hangTimeout: 50 });
  const first = await next();
  first.say({ type: 'hello' });
  first.answers = true;
  await eventually('it is asked', () => first.pings > 20);
  t.notOk(first.killed);
  first.answers = false;
  await eventually('it is killed', () => first.killed);
  t.equal(events('child_hung').length, 1);
  const second = await next();
  t.not(second, first);
});

test('stop ends what there is: a child by its signals, a wait at once', async (t) => {
  const { next, supervisor } = supervise(t);
  const child = await next();
  child.say({ type: 'hello' });
  const socket = new FakeSocket();
  child.say({ type: 'keep', key: 'a' }, socket);
  supervisor.reload();
  supervisor.stop('SIGINT');
  supervisor.stop('SIGTERM');
  t.same(
    child.told.flatMap((message) => (message.type === 'signal' ? [message.signal] : [])),
    ['SIGHUP', 'SIGINT', 'SIGTERM'],
  );
  t.ok(socket.closed, 'nobody is to wait for a connection');
  child.end({ code: 1, signal: null });
  t.equal(await supervisor.ended, 1);

  const waiting = supervise(t);
  (await waiting.next()).end({ code: null, signal: 'SIGKILL' });
  waiting.supervisor.stop('SIGTERM');
  t.equal(await waiting.supervisor.ended, 1);
  t.equal(waiting.children.length, 1);
});

test('an upgrade: the next child takes the place of the current one when it is ready, which drains', async (t) => {
  const { next, supervisor, events } = supervise(t);
  const first = await next();
  first.say({ type: 'hello' });
  supervisor.upgrade();
  t.equal(events('upgrade_waits').length, 1, 'nobody works yet');
  first.say({ type: 'keep', key: 'a' }, new FakeSocket());
  first.say({ type: 'ready', keys: ['a'], obstacle: null });
  const second = await next();
  second.say({ type: 'hello' });
  t.match(second.told, [{ type: 'socket', key: 'a' }, { type: 'tellLinks' }, { type: 'begin', generation: 1, shares: true }]);
  first.say({ type: 'link', id: 'x', token: '00' });
  t.match(second.told.at(-1), { type: 'link', id: 'x' }, 'each hears of the other’s links');
  t.notOk(
    first.told.some(({ type }) => type === 'retire'),
    'not before the next one is ready',
  );
  second.say({ type: 'ready', keys: ['a'], obstacle: null });
  t.same(first.told.at(-1), { type: 'retire' });
  first.say({ type: 'release', key: 'a' });
  supervisor.upgrade();
  t.equal(events('upgrade_waits').length, 2, 'one at a time');
  first.end({ code: 0, signal: null });
  t.ok(second.told.some(({ type }) => type === 'alone'));
  const third = await next();
  third.say({ type: 'hello' });
  t.match(third.told, [{ type: 'socket', key: 'a' }, { type: 'tellLinks' }, { type: 'begin', generation: 0 }]);
});

test('an upgrade that fails changes nothing; one that cannot be is refused', async (t) => {
  const { next, supervisor, events, children } = supervise(t);
  const first = await next();
  first.say({ type: 'hello' });
  first.say({ type: 'ready', keys: [], obstacle: null });
  supervisor.upgrade();
  const second = await next();
  const opened = new FakeSocket();
  second.say({ type: 'keep', key: 'b' }, opened);
  second.end({ code: 2, signal: null });
  t.equal(events('upgrade_failed').length, 1);
  t.ok(opened.closed, 'what it has opened is given up');
  t.same(first.told.at(-1), { type: 'alone' });
  t.equal(events('child_died').length, 0);
  first.say({ type: 'ready', keys: [], obstacle: 'the port cannot be shared' });
  supervisor.upgrade();
  t.match(events('upgrade_failed').at(-1)?.['msg'], /the port cannot be shared/);
  t.equal(children.length, 2);
});

test('the current child dies while the next one starts: that one goes on', async (t) => {
  const { next, supervisor, events, children } = supervise(t);
  const first = await next();
  first.say({ type: 'ready', keys: [], obstacle: null });
  supervisor.upgrade();
  const second = await next();
  first.end({ code: null, signal: 'SIGSEGV' });
  t.same(second.told.at(-1), { type: 'alone' });
  t.equal(events('restarting').length, 0);
  second.say({ type: 'ready', keys: [], obstacle: null });
  supervisor.upgrade();
  await next();
  t.equal(children.length, 3);
});

test('stop while one is leaving: it drains on, and the exit code is the worst', async (t) => {
  const { next, supervisor } = supervise(t);
  const first = await next();
  first.say({ type: 'ready', keys: [], obstacle: null });
  supervisor.upgrade();
  const second = await next();
  second.say({ type: 'ready', keys: [], obstacle: null });
  supervisor.stop('SIGTERM');
  t.notOk(
    first.told.some(({ type }) => type === 'signal'),
    'a second signal would cut its connections off',
  );
  t.ok(second.told.some(({ type }) => type === 'signal'));
  second.end({ code: 0, signal: null });
  supervisor.stop('SIGTERM');
  t.ok(first.told.some(({ type }) => type === 'signal'));
  first.end({ code: 1, signal: null });
  t.equal(await supervisor.ended, 1);
});

test('where no process can be started, it is tried again; at the very beginning that is an error', async (t) => {
  const { next, events, failing, children, supervisor } = supervise(t);
  const first = await next();
  first.say({ type: 'ready', keys: [], obstacle: null });
  failing.left = 2;
  first.end({ code: null, signal: 'SIGKILL' });
  t.ok(await next(), 'as soon as it can be');
  t.equal(events('restarting').length, 3);
  t.equal(children.length, 2);
  failing.left = 1;
  children[1]!.say({ type: 'ready', keys: [], obstacle: null });
  supervisor.upgrade();
  await eventually('the upgrade to fail', () => events('upgrade_failed').length === 1);
  const hopeless = supervise(t, { cannotStart: 1 });
  t.equal(await hopeless.supervisor.ended, 1);
});

function supervise(t: Test, { hangTimeout = 60_000, cannotStart = 0 } = {}) {
  /** How often the next start fails. */
  const failing = { left: cannotStart };
  const children: FakeChild[] = [];
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
  const start = (handler: ChildHandler): Child => {
    if (failing.left-- > 0) throw new Error('spawn ENOMEM');
    const child = new FakeChild(handler, children.length + 1);
    children.push(child);
    return child;
  };
  const supervisor = new Supervisor({ words: ['-listen=:1'], hangTimeout, log, start, random: () => 1 });
  t.teardown(() => {
    supervisor.stop('SIGTERM');
    for (const child of children) child.end({ code: 0, signal: null });
  });
  let taken = 0;
  /** The next child, once it is started. */
  const next = async (): Promise<FakeChild> => {
    const index = taken++;
    return (await eventually('a child', () => children[index]))!;
  };
  return { supervisor, children, failing, next, events: (name: string) => lines.filter((line) => line['event'] === name) };
}
