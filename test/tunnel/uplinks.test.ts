import { test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import type { Link } from '../../src/link/link.ts';
import { Uplinks, type Way } from '../../src/tunnel/uplinks.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeConnector, type FakeLink } from './fake-link.ts';

const LOST = new QtunnelError('LINK_LOST', 'lost');
const OVER = new QtunnelError('SHUTTING_DOWN', 'over');

const SILENT = {
  onUp() {},
  onStateChange() {},
  onMove() {},
  onEarlyData() {},
  onDown() {},
  onRetired() {},
  onClosed() {},
  onChoice() {},
};

class World {
  readonly clock = new FakeClock();
  readonly near = new FakeConnector('quic');
  readonly far = new FakeConnector('quic');
  readonly heard: string[] = [];
  readonly uplinks = new Uplinks(this.clock);

  constructor() {
    this.use([this.way('near', this.near), this.way('far', this.far)]);
  }

  way(server: string, { connect }: FakeConnector): Way {
    return { server, connect: { quic: connect }, handler: SILENT };
  }

  use(ways: Way[]): void {
    this.uplinks.use(ways, {
      onServer: (server) => void this.heard.push(server),
      onMark: (server, mark, holds) => void this.heard.push(`${server} ${mark} ${holds}`),
    });
  }

  async up(connector: FakeConnector, rtt: number): Promise<FakeLink> {
    connector.last.link.rtt = rtt;
    connector.last.succeed();
    await this.clock.advance(0);
    return connector.last.link;
  }

  async bothUp(): Promise<[FakeLink, FakeLink]> {
    const [far, near] = [await this.up(this.far, 80), await this.up(this.near, 20)];
    await this.clock.advance(10_000);
    return [near, far];
  }
}

void test('the nearer of two servers is taken, the other when that is lost or silent, and the nearer again', async (t) => {
  const world = new World();
  const [near, far] = await world.bothUp();
  t.equal(world.uplinks.current(), near);
  near.turn('stalled');
  t.equal(world.uplinks.current(), far, 'at once');
  await world.clock.advance(1_000);
  t.strictSame(world.heard, ['far']);
  near.turn('up');
  await world.clock.advance(5_000);
  t.equal(world.uplinks.current(), far, 'not so fast');
  await world.clock.advance(20_000);
  t.equal(world.uplinks.current(), near);
  t.strictSame(world.heard, ['far', 'near']);
  near.end(LOST);
  t.equal(world.uplinks.current(), far);
  await world.clock.advance(10_000);
  t.ok(world.near.attempts.length > 1, 'and the nearer one is tried again');
  t.equal(far.state, 'up');
});

void test('who waits gets the first link to any server', async (t) => {
  const world = new World();
  const got: Link[] = [];
  world.uplinks.whenUp((link) => void got.push(link));
  const far = await world.up(world.far, 80);
  await world.up(world.near, 20);
  t.strictSame(got, [far]);
});

void test('what is known of the servers can be seen', async (t) => {
  const world = new World();
  await world.bothUp();
  t.strictSame(world.uplinks.servers, [
    { server: 'near', isUp: true, isPreferred: true, rtt: 20, marks: [] },
    { server: 'far', isUp: true, isPreferred: false, rtt: 80, marks: [] },
  ]);
  world.use([world.way('near', world.near)]);
  t.strictSame(world.uplinks.servers, [], 'nothing to choose from one');
});

void test('other servers: links to the old ones drain; a stop for a reason ends all', async (t) => {
  const world = new World();
  const [near, far] = await world.bothUp();
  const other = new FakeConnector('quic');
  world.use([world.way('other', other), world.way('near', world.near)]);
  t.strictSame([near.state, far.state], ['draining', 'draining']);
  const link = await world.up(other, 5);
  t.equal(world.uplinks.current(), link);
  t.equal(world.uplinks.open.size, 3);
  world.uplinks.stop(OVER);
  t.strictSame([near.closedFor, far.closedFor, link.closedFor], [OVER, OVER, OVER]);
  const { attempts } = other;
  await world.clock.advance(60_000);
  t.equal(attempts.length, 1);
  t.equal(world.uplinks.open.size, 0);
});
