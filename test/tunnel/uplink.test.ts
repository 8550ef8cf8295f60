import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import type { Link } from '../../src/link/link.ts';
import type { Connect, Preference, UplinkHandler } from '../../src/tunnel/uplink.ts';
import { Uplinks } from '../../src/tunnel/uplinks.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeConnector } from './fake-link.ts';

const LOST = new QtunnelError('LINK_LOST', 'lost');
const OVER = new QtunnelError('SHUTTING_DOWN', 'over');

function handlerWriting(heard: string[]): UplinkHandler {
  return {
    onUp: ({ transport }) => void heard.push(`${transport} up`),
    onStateChange: ({ transport, state }) => void heard.push(`${transport} ${state}`),
    onMove: ({ transport }, local) => void heard.push(`${transport} moved to ${local}`),
    onEarlyData: ({ transport }, taken) => void heard.push(`${transport} early data ${taken ? 'taken' : 'refused'}`),
    onDown: (transport, link, { code }) => void heard.push(`${transport} ${link === null ? 'failed' : 'down'} ${code}`),
    onRetired: ({ transport }) => void heard.push(`${transport} retired`),
    onClosed: ({ transport }) => void heard.push(`${transport} closed`),
    onChoice: (transport) => void heard.push(`${transport} chosen`),
  };
}

interface Setting extends Pick<UplinkHandler, 'whenTaken'> {
  readonly fallback: boolean;
  readonly preference: Preference;
}

class World {
  readonly clock = new FakeClock();
  readonly quic = new FakeConnector('quic');
  readonly tls = new FakeConnector('tls');
  readonly heard: string[] = [];
  readonly uplink = new Uplinks(this.clock);
  readonly #extra: Pick<UplinkHandler, 'whenTaken'>;

  constructor({ fallback = true, preference = 'quic', ...extra }: Partial<Setting> = {}) {
    this.#extra = extra;
    const connect = { quic: this.quic.connect, ...(fallback && { tls: this.tls.connect }) };
    this.use(connect, this.heard, preference);
  }

  use(connect: Connect, heard: string[], preference: Preference = 'quic'): void {
    const handler = { onServer() {}, onMark() {} };
    const way = { server: 'server', connect, handler: { ...handlerWriting(heard), ...this.#extra } };
    this.uplink.use([way], handler, preference);
  }

  async up(connector: FakeConnector) {
    connector.last.succeed();
    await this.clock.advance(0);
    return connector.last.link;
  }

  get transport(): Link['transport'] | null {
    return this.uplink.current()?.transport ?? null;
  }
}

void test('QUIC that does not answer: TLS after 3 s, and QUIC again when it comes', async (t) => {
  const world = new World();
  await world.clock.advance(2_999);
  t.equal(world.tls.attempts.length, 0);
  await world.clock.advance(1);
  t.equal(world.tls.attempts.length, 1);
  const tls = await world.up(world.tls);
  t.equal(world.transport, 'tls');
  world.quic.last.fail('LINK_TIMEOUT');
  await world.clock.advance(100);
  t.equal(world.quic.attempts.length, 2, 'QUIC is tried all the while');
  await world.up(world.quic);
  t.equal(world.transport, 'quic');
  t.equal(tls.state, 'draining', 'what goes over TLS goes on');
  t.strictSame(world.uplink.links.length, 1);
});

void test('a server that opens streams: the fallback’s link is kept until the server opens them on QUIC’s', async (t) => {
  const taken: (() => void)[] = [];
  const world = new World({ whenTaken: () => new Promise((resolve) => taken.push(resolve)) });
  await world.clock.advance(3_000);
  const tls = await world.up(world.tls);
  const quic = await world.up(world.quic);
  t.equal(world.transport, 'quic', 'what this side opens goes over QUIC at once');
  t.equal(tls.state, 'up');

  quic.turn('stalled');
  taken[0]!();
  await world.clock.advance(0);
  t.equal(tls.state, 'up', 'it is needed again');
  quic.turn('up');
  t.equal(tls.state, 'up');
  taken[1]!();
  await world.clock.advance(0);
  t.equal(tls.state, 'draining');
});

void test('QUIC that answers within 3 s: no TLS', async (t) => {
  const world = new World();
  await world.clock.advance(2_999);
  await world.up(world.quic);
  await world.clock.advance(60_000);
  t.equal(world.tls.attempts.length, 0);
});

void test('nobody on the UDP port: TLS at once', async (t) => {
  const world = new World();
  world.quic.last.fail('LINK_REFUSED');
  await world.clock.advance(0);
  t.equal(world.tls.attempts.length, 1);
});

void test('a stalled QUIC link: TLS at once, QUIC until then, and QUIC again when it is heard', async (t) => {
  const world = new World();
  const quic = await world.up(world.quic);
  quic.turn('stalled');
  await world.clock.advance(0);
  t.equal(world.transport, 'quic', 'better than nothing');
  const tls = await world.up(world.tls);
  t.equal(world.transport, 'tls');
  quic.turn('up');
  t.equal(world.transport, 'quic');
  t.equal(tls.state, 'draining');
  t.equal(quic.state, 'up', 'its streams stayed where they are');
});

void test('a QUIC link that dies after a stall leaves TLS', async (t) => {
  const world = new World();
  const quic = await world.up(world.quic);
  quic.turn('stalled');
  await world.clock.advance(0);
  await world.up(world.tls);
  quic.end(LOST);
  await world.clock.advance(60_000);
  t.equal(world.transport, 'tls');
  t.equal(world.tls.attempts.length, 1);
});

void test('a server that says no over QUIC is not asked over TLS, and seldom again', async (t) => {
  const world = new World();
  world.quic.last.fail('AUTH_REJECTED');
  await world.clock.advance(2_400);
  t.equal(world.quic.attempts.length, 1);
  await world.clock.advance(10_000);
  t.equal(world.tls.attempts.length, 0);
  t.equal(world.transport, null);
});

void test('a no over QUIC does not take a TLS link away that is up', async (t) => {
  const world = new World();
  await world.clock.advance(3_000);
  await world.up(world.tls);
  world.quic.last.fail('SERVER_BUSY');
  await world.clock.advance(1);
  t.equal(world.transport, 'tls');
});

void test('without fallback there is no TLS', async (t) => {
  const world = new World({ fallback: false });
  world.quic.last.fail('LINK_REFUSED');
  await world.clock.advance(60_000);
  t.equal(world.tls.attempts.length, 0);
});

void test('who waits gets the first link of either transport, once, unless he gives up', async (t) => {
  const world = new World();
  const got: string[] = [];
  world.uplink.whenUp(({ transport }) => void got.push(transport));
  world.uplink.whenUp(() => void got.push('never'))();
  await world.clock.advance(3_000);
  await world.up(world.tls);
  await world.up(world.quic);
  t.strictSame(got, ['tls']);
});

void test('another way to make links: old ones go on to their ends, who waits waits on, nothing old comes back', async (t) => {
  const world = new World();
  const old = await world.up(world.quic);
  old.turn('stalled');
  await world.clock.advance(0);
  const heard: string[] = [];
  const other = new FakeConnector('tls');
  world.use({ tls: other.connect }, heard);
  t.equal(old.state, 'draining');
  t.ok(world.tls.last.signal.aborted);
  t.equal(world.transport, null);
  const got: Link[] = [];
  world.uplink.whenUp((link) => void got.push(link));
  world.tls.last.succeed();
  await world.clock.advance(0);
  t.equal(got.length, 0, 'what the old way still makes is not used');
  t.equal(world.tls.last.link.state, 'closed');
  await world.up(other);
  t.strictSame(got, [other.last.link]);
  t.strictSame(heard, ['tls up']);
  await world.clock.advance(60_000);
  t.equal(world.quic.attempts.length, 1);
  t.strictSame(world.uplink.open.list(), [old, other.last.link]);
  old.end(LOST);
  t.equal(world.heard.at(-1), 'quic closed', 'the old link’s end is told to those who knew it');
  t.strictSame(world.uplink.open.list(), [other.last.link]);
});

void test('a wait survives the change of ways', async (t) => {
  const world = new World();
  const got: Link[] = [];
  world.uplink.whenUp((link) => void got.push(link));
  const other = new FakeConnector('quic');
  world.use({ quic: other.connect }, []);
  await world.up(other);
  t.strictSame(got, [other.last.link]);
});

void test('stopping for a reason ends every link that is open, also those that only carry their last streams', async (t) => {
  const world = new World();
  await world.clock.advance(3_000);
  const tls = await world.up(world.tls);
  const quic = await world.up(world.quic);
  t.equal(tls.state, 'draining');
  world.uplink.stop(OVER);
  t.strictSame([tls.closedFor, quic.closedFor], [OVER, OVER]);
  t.equal(world.uplink.open.size, 0);
  await world.clock.advance(60_000);
  t.strictSame([world.quic.attempts.length, world.tls.attempts.length], [1, 1]);
});

void test('the choice is by the path: QUIC while it is far, TLS when it is near, QUIC again when something is lost', async (t) => {
  const world = new World({ preference: 'auto' });
  t.equal(world.tls.attempts.length, 1, 'both are made at once');
  const quic = await world.up(world.quic);
  const tls = await world.up(world.tls);
  await world.clock.advance(5_000);
  t.equal(world.transport, 'quic');
  tls.rtt = 0.3;
  await world.clock.advance(1_000);
  t.equal(world.transport, 'tls');
  t.equal(quic.state, 'up', 'it stays for when it is better');
  quic.lost = 100;
  await world.clock.advance(1_000);
  t.equal(world.transport, 'quic');
  t.equal(tls.state, 'up');
  t.same(world.heard, ['quic up', 'tls up', 'tls chosen', 'quic chosen']);
});

void test('what is chosen is not there: the other, until it is', async (t) => {
  const world = new World({ preference: 'auto' });
  const quic = await world.up(world.quic);
  quic.rtt = 0.3;
  await world.clock.advance(1_000);
  t.equal(world.transport, 'quic', 'TLS is not up yet');
  const tls = await world.up(world.tls);
  t.equal(world.transport, 'tls');
  tls.end(LOST);
  t.equal(world.transport, 'quic');
  await world.clock.advance(60_000);
  t.ok(world.tls.attempts.length > 1, 'TLS is tried again');
});

void test('other settings: no choice is left', async (t) => {
  const world = new World({ preference: 'auto' });
  const quic = await world.up(world.quic);
  quic.rtt = 0.3;
  await world.up(world.tls);
  await world.clock.advance(1_000);
  t.equal(world.transport, 'tls');
  world.use({ quic: world.quic.connect, tls: world.tls.connect }, world.heard);
  await world.up(world.quic);
  world.quic.last.link.rtt = 0.3;
  await world.clock.advance(60_000);
  t.equal(world.transport, 'quic');
});
