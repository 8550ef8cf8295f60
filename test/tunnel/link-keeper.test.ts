import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { type KeeperHandler, LinkKeeper } from '../../src/tunnel/link-keeper.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeConnector } from './fake-link.ts';

const LOST = new QtunnelError('LINK_LOST', 'lost');
const LONG = 10_000;

function keeper() {
  const clock = new FakeClock();
  const connector = new FakeConnector();
  const heard: string[] = [];
  const delays: number[] = [];
  const handler: KeeperHandler = {
    onUp: () => void heard.push('up'),
    onStateChange: ({ state }) => void heard.push(state),
    onMove: (_link, local) => void heard.push(`moved to ${local}`),
    onEarlyData: (_link, taken) => void heard.push(`early data ${taken ? 'taken' : 'refused'}`),
    onDown: (link, { code }, retryIn) => {
      heard.push(`${link === null ? 'failed' : 'down'} ${code}`);
      delays.push(retryIn);
    },
    onRetired: () => void heard.push('retired'),
    onClosed: () => void heard.push('closed'),
  };
  return { clock, connector, heard, delays, it: new LinkKeeper(connector.connect, handler, clock) };
}

async function up({ clock, connector }: ReturnType<typeof keeper>) {
  connector.last.succeed();
  await clock.advance(0);
  return connector.last.link;
}

void test('failed attempts are made again with growing, capped back-off', async (t) => {
  const all = keeper();
  all.it.start();
  for (let n = 1; n <= 12; n++) {
    t.equal(all.connector.attempts.length, n);
    all.connector.last.fail('LINK_TIMEOUT');
    await all.clock.advance(2_000);
  }
  t.ok(all.delays[0]! >= 50 && all.delays[0]! <= 100, `first ${all.delays[0]}`);
  t.ok(all.delays.at(-1)! >= 1_000 && all.delays.at(-1)! <= 2_000, `last ${all.delays.at(-1)}`);
});

void test('a server that says no is asked seldom', async (t) => {
  for (const code of ['AUTH_REJECTED', 'AUTH_SERVER', 'CERT_CHANGED', 'PIN_MISMATCH', 'VERSION_MISMATCH'] as const) {
    const all = keeper();
    all.it.start();
    all.connector.last.fail(code);
    await all.clock.advance(2_400);
    t.equal(all.connector.attempts.length, 1, code);
    await all.clock.advance(2_600);
    t.equal(all.connector.attempts.length, 2);
    for (let n = 0; n < 6; n++) {
      all.connector.last.fail(code);
      await all.clock.advance(60_000);
    }
    t.ok(all.delays.at(-1)! >= 30_000, `${all.delays.at(-1)}`);
  }
});

void test('a link that was up for a while is made again at once, whether it was lost or drained by the server', async (t) => {
  for (const end of ['close', 'drain'] as const) {
    const all = keeper();
    all.it.start();
    const link = await up(all);
    await all.clock.advance(LONG);
    if (end === 'close') link.end(LOST);
    else link.drain();
    t.equal(all.it.link, null);
    await all.clock.advance(0);
    t.strictSame(all.delays, [0]);
    t.equal(all.connector.attempts.length, 2);
    const second = await up(all);
    t.equal(all.it.link, second);
    link.end(LOST);
    t.equal(all.it.link, second, 'the end of the old one is nothing new');
    t.equal(all.heard.filter((word) => word === 'closed').length, 1);
  }
});

void test('a server that hangs up on each link is met with back-off', async (t) => {
  const all = keeper();
  all.it.start();
  for (let n = 0; n < 8; n++) {
    (await up(all)).drain();
    await all.clock.advance(2_000);
  }
  t.equal(all.connector.attempts.length, 9);
  t.ok(all.delays.at(-1)! >= 1_000, `${all.delays}`);
});

void test('a link that is over before anybody saw it counts as a failed attempt', async (t) => {
  for (const state of ['draining', 'closed'] as const) {
    const all = keeper();
    all.it.start();
    all.connector.last.link.state = state;
    await up(all);
    t.equal(all.connector.attempts.length, 1, 'the next attempt is not made at once');
    t.strictSame(all.heard, ['failed LINK_LOST']);
    await all.clock.advance(100);
    t.equal(all.connector.attempts.length, 2);
  }
});

void test('what comes of an attempt that was given up is closed, also when there is a new attempt', async (t) => {
  const all = keeper();
  all.it.start();
  const [given] = all.connector.attempts;
  all.it.stop();
  t.ok(given!.signal.aborted);
  all.it.start();
  t.equal(all.connector.attempts.length, 2);
  given!.succeed();
  await all.clock.advance(0);
  t.equal(given!.link.state, 'closed');
  t.equal(all.it.link, null);
  t.strictSame(all.heard, []);
  const link = await up(all);
  t.equal(all.it.link, link);
  given!.fail('ABORTED');
});

void test('stop drains the link, or ends it for a reason, and makes no more', async (t) => {
  for (const reason of [undefined, LOST]) {
    const all = keeper();
    all.it.start();
    const link = await up(all);
    all.it.stop(reason);
    t.equal(link.state, reason === undefined ? 'draining' : 'closed');
    link.end(LOST);
    await all.clock.advance(LONG);
    t.equal(all.connector.attempts.length, 1);
    t.strictSame(all.heard, ['up', 'retired', 'closed']);
  }
  const waiting = keeper();
  waiting.it.start();
  waiting.connector.last.fail('LINK_LOST');
  await waiting.clock.advance(0);
  waiting.it.stop();
  await waiting.clock.advance(LONG);
  t.equal(waiting.connector.attempts.length, 1, 'nor after a failure');
});
