import { test } from 'tap';
import { connectQuic } from '../../src/quic/connect.ts';
import { QtunnelError } from '../../src/errors.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { connectOptions, OVER, quicOptions, REQUEST, World } from './pair.ts';

void test('an attempt that is given up ends with ABORTED and leaves no socket behind', async (t) => {
  const world = new World();
  const { clients } = world.network;
  await t.rejects(world.connect(connectOptions(), AbortSignal.abort()), { code: 'ABORTED' }, 'before');
  t.equal(clients.length, 0);

  const opening = new AbortController();
  const whileOpening = world.connect(connectOptions(), opening.signal);
  opening.abort();
  await t.rejects(whileOpening, { code: 'ABORTED' }, 'while the socket is opened');

  const waiting = new AbortController();
  world.network.icmp = false;
  const whileWaiting = world.connect(connectOptions(), waiting.signal);
  await world.clock.advance(1000);
  waiting.abort();
  await t.rejects(whileWaiting, { code: 'ABORTED' }, 'while nobody answers');
  await world.clock.advance(1000);
  t.strictSame(
    clients.map(({ closed }) => closed),
    [true, true],
  );
});

void test('where nothing listens the attempt fails at once, where nothing answers after 10 s', async (t) => {
  const world = new World();
  await t.rejects(world.until(world.connect()), { code: 'LINK_REFUSED' });
  world.network.icmp = false;
  const silent = t.rejects(world.connect(), { code: 'LINK_TIMEOUT' });
  await world.clock.advance(10_000);
  await silent;
  t.ok(world.network.clients.every(({ closed }) => closed));
});

void test('an address that quiche does not take is refused', async (t) => {
  const world = new World();
  const target = { host: 'fe80::1%eth0', port: 1, serverName: 'localhost' };
  await t.rejects(connectQuic(target, connectOptions(), new AbortController().signal, world.environment), { code: 'LINK_REFUSED' });
  t.equal(world.network.clients[0]?.closed, true);
});

void test('a server that the client does not trust', async (t) => {
  const world = new World();
  await world.listen();
  await t.rejects(world.until(world.connect({ ...connectOptions(), checkServer: refuse })), { code: 'PIN_MISMATCH' });
  await world.drive(() => world.failures.length > 0, 'the server to know');
  t.equal(world.failures[0]!.error.code, 'AUTH_REJECTED');
  t.equal(world.links.length, 0);
});

void test('a server without a secret says so to a client that has one', async (t) => {
  const world = new World();
  await world.listen(quicOptions({ key: null }));
  await t.rejects(world.until(world.connect()), { code: 'AUTH_REJECTED', message: /this server has none/ });
});

void test('a stream that the server opens at once finds the client’s handler', async (t) => {
  const world = new World();
  await world.listen();
  const opened: StreamRecorder[] = [];
  world.listener.onLink = (link) => {
    const stream = new StreamRecorder(link.open(REQUEST));
    stream.stream.write(Buffer.from('welcome'));
    opened.push(stream);
  };
  const client = await world.until(world.connect().then((link) => new LinkRecorder(link)));
  const { recorder } = await world.until(client.accept());
  await world.drive(() => recorder.text === 'welcome', 'bytes');
  t.equal(opened[0]!.resets.length, 0);
  client.link.close(OVER);
});

function refuse(): void {
  throw new QtunnelError('PIN_MISMATCH', 'Not that one.');
}
