import { test } from 'tap';
import { StreamRecorder } from '../link/recorder.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';
import { makeWorld, OVER, quicStreamsAlive, REQUEST, type WorldPair } from './pair.ts';

/** A stream that is open on both sides. */
async function openStream({ world, client, server }: WorldPair, holding = false): Promise<[StreamRecorder, StreamRecorder]> {
  server.options = { holding };
  const here = new StreamRecorder(client.link.open(REQUEST), { holding });
  return [here, (await world.until(server.accept())).recorder];
}

const BAD = { delay: 5, loss: 0.02, burst: 2, duplicate: 0.02, reorder: 0.02, corrupt: 0.01 };

for (const blocks of ['auto', 'off'] as const) {
  void test(
    `writes of all sizes arrive in order, both ways, over a bad network (blocks ${blocks})`,
    { timeout: 120_000 },
    async (t) => {
      for (const seed of [1, 2]) {
        const pair = await makeWorld({ seed, conditions: BAD, link: { blocks } });
        const { world, client } = pair;
        const random = seededRandom(seed);
        const streams: [StreamRecorder, StreamRecorder][] = [];
        for (let n = 0; n < 20; n++) streams.push(await openStream(pair));
        const writeSome = async (recorder: StreamRecorder): Promise<Buffer> => {
          // Small ones first, so that a direction moves in the midst of its bytes; one in four never does.
          const most = random() < 0.25 ? 1_000 : 30_000;
          const chunks = Array.from({ length: 30 }, (_, i) => randomBytes(random, integerBetween(random, 1, i < 10 ? 300 : most)));
          for (const chunk of chunks) await recorder.write(chunk);
          recorder.stream.end();
          return Buffer.concat(chunks);
        };
        const written = Promise.all(streams.flat().map(writeSome));
        await world.drive(() => streams.flat().every(({ ended }) => ended), 'all ends');
        const sent = await written;
        streams.forEach(([here, there], n) => {
          t.ok(there.bytes.equals(sent[2 * n]!), 'up');
          t.ok(here.bytes.equals(sent[2 * n + 1]!), 'down');
        });
        client.link.close(OVER);
      }
    },
  );
}

void test('small writes of many streams share packets, and use no QUIC streams', async (t) => {
  const pair = await makeWorld();
  const { world, client, server } = pair;
  const streams: [StreamRecorder, StreamRecorder][] = [];
  for (let n = 0; n < 50; n++) streams.push(await openStream(pair));
  await world.clock.advance(1_000);
  const { sent } = world.network.up;
  for (const [here] of streams) here.stream.write(new Uint8Array(20));
  await world.drive(() => streams.every(([, there]) => there.received === 20), 'all bytes');
  const datagrams = world.network.up.sent - sent;
  t.ok(datagrams <= 3, `${datagrams} datagrams for 50 writes`);
  t.equal(quicStreamsAlive(pair, 300), 0);
  t.strictSame([client.link.streams, server.link.streams], [50, 50]);
  client.link.close(OVER);
});

void test('a write that is not small gets a QUIC stream of its own, and so does what follows', async (t) => {
  const pair = await makeWorld();
  const { world, client } = pair;
  const [here, there] = await openStream(pair);
  here.stream.write(new Uint8Array(4_088));
  await world.drive(() => there.received === 4_088, 'the small write');
  t.equal(quicStreamsAlive(pair, 20), 0);
  here.stream.write(new Uint8Array(4_089));
  here.stream.write(new Uint8Array(1));
  await world.drive(() => there.received === 4_088 + 4_090, 'the others');
  t.ok(quicStreamsAlive(pair, 20) > 0);
  here.stream.end();
  there.stream.end();
  await world.drive(() => quicStreamsAlive(pair, 20) === 0 && client.link.streams === 0, 'both ends');
  client.link.close(OVER);
});

void test('small writes to a reader that does not read stop at its credit, and it loses none of them', async (t) => {
  const buffer = 128 * 1024;
  const pair = await makeWorld({ link: { buffer } });
  const { world, client } = pair;
  const [here, there] = await openStream(pair, true);
  const bytes = randomBytes(seededRandom(5), 1024 * 1024);
  let written = 0;
  for (let idle = 0; idle < 50;) {
    const taken = here.stream.write(bytes.subarray(written, written + 1_000));
    written += taken;
    idle = taken === 0 ? idle + 1 : 0;
    await world.clock.advance(1);
  }
  t.ok(written > 0 && written <= buffer, `${written} bytes were taken`);
  t.equal(there.received, 0);
  there.release();
  await world.drive(() => there.received === written, 'what was written');
  t.ok(there.bytes.equals(bytes.subarray(0, written)));
  client.link.close(OVER);
});

void test('a reset in the midst of small writes ends both sides, and hinders no other stream', async (t) => {
  const pair = await makeWorld();
  const { world, client } = pair;
  const [first, firstThere] = await openStream(pair);
  const [second, secondThere] = await openStream(pair);
  for (let n = 0; n < 10; n++) {
    first.stream.write(new Uint8Array(100));
    second.stream.write(new Uint8Array(100));
    if (n === 5) first.stream.reset('RESET', 'enough');
  }
  await world.drive(() => secondThere.received === 1_000 && firstThere.resets.length > 0, 'the other stream');
  t.equal(firstThere.received, 600, 'what was written before the reset came before it');
  t.strictSame(firstThere.resets, [{ reason: 'RESET', message: 'enough' }]);
  client.link.close(OVER);
});

void test('small writes of nearly a packet get through beside bulk on a slow path', { timeout: 60_000 }, async (t) => {
  const pair = await makeWorld({ conditions: { delay: 5, rate: 400_000, queue: 100_000 }, link: { buffer: 8 << 20 } });
  const { world, client } = pair;
  const bulk = [await openStream(pair), await openStream(pair), await openStream(pair)];
  for (const [here] of bulk) here.write(new Uint8Array(4 << 20)).catch(() => {});
  await world.drive(() => bulk.every(([, there]) => there.received > 30_000), 'bulk to be under way');
  const [here, there] = await openStream(pair);
  const came = () => bulk.reduce((sum, [, { received }]) => sum + received, 0);
  const before = came();
  for (let n = 1; n <= 3; n++) {
    void here.write(new Uint8Array(4_000));
    await world.drive(() => there.received === n * 4_000, `small write ${n}`);
  }
  t.ok(came() - before < 600_000, `${came() - before} bytes of bulk came before them`);
  client.link.close(OVER);
});
