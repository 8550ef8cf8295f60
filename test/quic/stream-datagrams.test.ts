import { test } from 'tap';
import { encodeOpen } from '../../src/protocol/messages.ts';
import { CLOSE } from '../../src/quic/close.ts';
import { StreamRecorder } from '../link/recorder.ts';
import { makeWorld, OVER, quic, quicOptions, REQUEST, World } from './pair.ts';
import { RawClient } from './raw-client.ts';

void test('a lost datagram holds up no other and does not come later', async (t) => {
  const { world, client, server } = await makeWorld({ link: { datagrams: true } });
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  await world.clock.advance(100);
  for (let n = 0; n < 100; n++) {
    world.network.loses = (_, { isClient }) => isClient && n % 10 === 3;
    t.equal(here.stream.sendDatagram!(Uint8Array.of(n)), true);
    await world.clock.advance(1);
  }
  world.network.loses = () => false;
  await world.clock.advance(2_000);
  const expected = Array.from({ length: 100 }, (_, n) => n).filter((n) => n % 10 !== 3);
  t.strictSame(
    there.datagrams.map(([n]) => n),
    expected,
  );
  client.link.close(OVER);
});

void test('what overtakes its stream’s opening waits for it, within bounds', async (t) => {
  const world = new World();
  await world.listen(quicOptions({ datagrams: true }));
  const client = await RawClient.greet(world);
  const server = world.links[0]!;
  for (let n = 0; n < 100; n++) client.sendDatagram(Uint8Array.of(4, 0, n, 0, 0, n));
  await world.clock.advance(50);
  for (const id of [2, 4]) client.send(0, encodeOpen(id, REQUEST.tag, ''), false);
  await world.until(server.accept());
  const { recorder } = await world.until(server.accept());
  await world.clock.advance(50);
  t.strictSame(
    recorder.datagrams.map(([n]) => n),
    Array.from({ length: 16 }, (_, n) => n),
  );
  t.equal(server.link.stats().datagramsDropped, 84);
});

void test('a datagram that does not parse ends that link', async (t) => {
  const world = new World();
  await world.listen(quicOptions({ datagrams: true }));
  const client = await RawClient.greet(world);
  client.sendDatagram(Uint8Array.of(2, 0, 1, 5, 1));
  t.equal((await client.closed()).code, CLOSE.PROTOCOL);
  t.equal(world.links[0]!.closes[0]?.code, 'PROTOCOL_VIOLATION');
});

void test('without blocks large datagrams come as well', async (t) => {
  const { world, client, server } = await makeWorld({ link: { datagrams: true, blocks: 'off' } });
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  await world.clock.advance(100);
  for (const length of [0, 1_500, 65_507]) {
    const datagram = new Uint8Array(length).fill(length);
    here.stream.sendDatagram!(datagram);
    await world.clock.advance(500);
    t.equal(Buffer.compare(there.datagrams.at(-1) ?? Buffer.from('none'), datagram), 0, `${length} bytes`);
  }
  client.link.close(OVER);
});

void test('a flood of datagrams takes no more than its bounds, and the link goes on', async (t) => {
  const { world, client, server } = await makeWorld({ link: { datagrams: true } });
  const here = new StreamRecorder(client.link.open(REQUEST));
  await world.until(server.accept());
  await world.clock.advance(100);
  for (let n = 0; n < 1_000; n++) here.stream.sendDatagram!(new Uint8Array(10_000));
  t.ok(quic(client).connection.native.dgramSendQueueByteSize() <= 256 * 1024);
  await world.clock.advance(1_000);
  t.equal(quic(client).connection.native.dgramSendQueueLen(), 0);
  here.stream.write(new Uint8Array(1_000));
  await world.drive(() => server.accepted[0]!.recorder.received === 1_000, 'bytes');
  client.link.close(OVER);
});
