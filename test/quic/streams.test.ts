import { test } from 'tap';
import type { LinkStream } from '../../src/link/link.ts';
import { StreamRecorder } from '../link/recorder.ts';
import { makeWorld, OVER, quic, quicStreamsAlive, REQUEST, type WorldPair } from './pair.ts';

const KIB = 1024;

/** The link drains only if no map holds anything any more. */
async function drains({ world, client, server }: WorldPair): Promise<boolean> {
  client.link.drain();
  await world.drive(() => client.closes.length > 0 && server.closes.length > 0, 'the link to drain');
  return client.closes[0]!.code === 'LINK_CLOSED' && server.closes[0]!.code === 'LINK_CLOSED';
}

void test('2,000 streams one after another leave nothing behind', { timeout: 120_000 }, async (t) => {
  const pair = await makeWorld();
  const { world, client, server } = pair;
  server.onStream = (stream) => {
    const there = new StreamRecorder(stream);
    const answer = async (): Promise<void> => {
      await there.end();
      stream.write(there.bytes);
      stream.end();
    };
    void answer();
  };
  for (let n = 0; n < 2000; n += 20) {
    const batch = Array.from({ length: 20 }, () => new StreamRecorder(client.link.open(REQUEST)));
    for (const { stream } of batch) {
      stream.write(new Uint8Array(100 + (n % 7) * 1000));
      stream.end();
    }
    await world.drive(() => batch.every(({ ended }) => ended), 'a batch of streams');
  }
  await world.drive(() => quicStreamsAlive(pair, 4 * 2000) === 0, 'quiche to forget the streams');
  for (const link of [client, server]) t.strictSame([link.link.streams, quic(link).promised], [0, 0]);
  t.equal(quic(client).connection.native.peerStreamsLeftUni() > 2 ** 49, true, 'quiche lets as many be opened as ever');
  t.ok(await drains(pair));
});

void test('500 resets with unread bytes, from either side, leave nothing behind', { timeout: 120_000 }, async (t) => {
  const pair = await makeWorld({ link: { buffer: 256 * KIB } });
  const { world, client, server } = pair;
  server.options = { holding: true };
  for (let n = 0; n < 500; n++) {
    const { stream } = new StreamRecorder(client.link.open(REQUEST), { holding: true });
    stream.write(new Uint8Array(20_000));
    const { recorder: there } = await world.until(server.accept());
    there.stream.write(new Uint8Array(20_000));
    if (n % 3 === 0) await world.clock.advance(10);
    (n % 2 === 0 ? stream : there.stream).reset('RESET', 'enough');
  }
  await world.drive(() => client.link.streams === 0 && server.link.streams === 0, 'all streams to end');
  for (const link of [client, server]) t.equal(quic(link).promised, 0);
  await world.drive(() => quicStreamsAlive(pair, 4 * 500) === 0, 'quiche to forget the streams');
  const fresh = new StreamRecorder(client.link.open(REQUEST));
  t.ok(fresh.stream.write(new Uint8Array(100_000)) > 10_000, 'a new stream has room');
  fresh.stream.reset('RESET');
  t.ok(await drains(pair));
});

void test('200 resets at 5 % loss: the streams end, and the link drains', { timeout: 120_000 }, async (t) => {
  const pair = await makeWorld({ seed: 11, conditions: { delay: 2, loss: 0.05 }, link: { congestion: 'bbr' } });
  const { world, client, server } = pair;
  for (let n = 0; n < 200; n++) {
    const { stream } = new StreamRecorder(client.link.open(REQUEST));
    stream.write(new Uint8Array(3000));
    if (n % 2 === 0) await world.clock.advance(3);
    stream.reset('RESET', 'enough');
  }
  await world.drive(() => client.link.streams === 0 && server.link.streams === 0, 'all streams to end');
  t.ok(server.accepted.every(({ recorder }) => recorder.resets.length === 1));
  t.ok(await drains(pair));
});

void test('streams that are opened, moved and reset again and again, while what tells of the first is lost, do not hurt the link', async (t) => {
  const { world, client, server } = await makeWorld({ link: { blocks: 'off', maxStreams: 8 } });
  await world.clock.advance(200);
  let sent = 0;
  world.network.loses = (_, { isClient }) => isClient && sent++ === 0;
  for (let round = 0; round < 6; round++) {
    const streams = Array.from({ length: 8 }, () => client.link.open(REQUEST));
    for (const stream of streams) stream.write(new Uint8Array(100));
    for (const stream of streams) stream.reset('RESET');
    await world.clock.advance(1);
  }
  await world.drive(() => server.accepted.length === 48, 'all of them');
  t.strictSame([client.states, server.states], [[], []]);
  t.ok(await drains({ world, client, server }));
});

void test('a stream that is refused while its bytes are under way does not hurt the link', async (t) => {
  const { world, client, server } = await makeWorld({ link: { buffer: 256 * KIB } });
  server.onStream = (stream: LinkStream) => stream.reset('DIAL_REFUSED', 'nobody home');
  const streams = Array.from({ length: 50 }, () => {
    const here = new StreamRecorder(client.link.open(REQUEST));
    void here.write(new Uint8Array(200_000)).then(
      () => here.stream.end(),
      () => {},
    );
    return here;
  });
  await world.drive(() => streams.every(({ resets }) => resets.length > 0), 'the resets');
  t.ok(streams.every(({ resets }) => resets[0]!.reason === 'DIAL_REFUSED'));
  t.strictSame([client.states, server.states], [[], []]);
  client.link.close(OVER);
});

void test('stalled readers hold no more than their credit, and 100 of them hinder nobody', { timeout: 60_000 }, async (t) => {
  const buffer = 128 * KIB;
  const { world, client, server } = await makeWorld({ link: { buffer } });
  server.options = { holding: true };
  const stalled = Array.from({ length: 100 }, () => new StreamRecorder(client.link.open(REQUEST)));
  const chunk = new Uint8Array(1024 * KIB);
  const taken = stalled.map(() => 0);
  const pump = (): void => stalled.forEach(({ stream }, i) => (taken[i]! += stream.write(chunk)));
  // Each gets its turn as the path takes what those before it wrote.
  for (let round = 0; round < 50 || (round < 1_000 && taken.includes(0)); round++) {
    pump();
    await world.clock.advance(20);
  }
  for (let n = 0; n < 100; n++) await server.accept();
  t.ok(
    taken.every((n) => n > 0 && n <= buffer),
    `${Math.min(...taken)} to ${Math.max(...taken)} bytes were taken of each`,
  );
  server.options = {};
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  const bytes = new Uint8Array(4 * 1024 * KIB);
  void here.write(bytes).then(() => here.stream.end());
  await world.drive(() => there.ended, 'another stream');
  t.equal(there.received, bytes.length);
  client.link.close(OVER);
});

void test('a turn sends a bounded number of packets, and timers are not set for each of them', async (t) => {
  const { world, client, server } = await makeWorld({ link: { buffer: 16 * 1024 * KIB } });
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  const timersBefore = world.clock.timersSet;
  const { native } = quic(client).connection;
  let inTurn = 0;
  let most = 0;
  let packets = 0;
  const send = native.send.bind(native);
  native.send = (into) => {
    const sent = send(into);
    if (sent !== null) packets++;
    if (sent !== null && inTurn++ === 0) queueMicrotask(() => (inTurn = 0));
    most = Math.max(most, inTurn);
    return sent;
  };
  const bytes = new Uint8Array(8 * 1024 * KIB);
  void here.write(bytes).then(() => here.stream.end());
  await world.drive(() => there.ended, 'a transfer');
  t.ok(most > 8 && most <= 2 * 64, `${most} packets in the largest turn`);
  const timers = world.clock.timersSet - timersBefore;
  t.ok(timers < packets / 10, `${timers} timers for ${packets} packets`);
  client.link.close(OVER);
});
