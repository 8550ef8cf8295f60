import { createHash } from 'node:crypto';
import { test } from 'tap';
import type { Fec } from '../../src/protocol/fec.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { connectOptions, makeWorld, OVER, quic, quicOptions, REQUEST, World, type WorldPair } from './pair.ts';

const RATIO: Fec = { data: 8, parity: 2 };
const LOSSY = { delay: 5, loss: 0.03, burst: 2, duplicate: 0.01, reorder: 0.01 };

void test(
  '-fec=8:2 over a lossy network: lost datagrams are brought back, and not a byte is wrong',
  { timeout: 120_000 },
  async (t) => {
    for (const seed of [1, 2]) {
      const pair = await makeWorld({ seed, conditions: LOSSY, link: { fec: RATIO } });
      const { here, there } = await upload(pair, seed);
      t.equal(there, here, `seed ${seed}`);
      t.ok(quic(pair.client).stats().paritySent > 100, 'parity went out');
      t.ok(quic(pair.server).stats().shardsRestored > 10, 'and brought shards back');
      t.equal(quic(pair.client).connection.native.stats().lost, 0, 'as they were: QUIC has lost nothing');
      pair.client.link.close(OVER);
    }
  },
);

void test('a side with -fec=off gets none and sends none', { timeout: 120_000 }, async (t) => {
  for (const [client, server] of [
    [RATIO, 'off'],
    ['off', RATIO],
  ] as const) {
    const world = new World(4);
    let parity = 0;
    world.network.onSend = (datagram) => void (parity += datagram[0] === 0x23 ? 1 : 0);
    await world.listen(quicOptions({ fec: server }));
    const link = new LinkRecorder(await world.until(world.connect(connectOptions({ fec: client }))));
    await world.drive(() => world.links.length > 0, 'the server’s link');
    world.network.set(LOSSY);
    const pair = { world, client: link, server: world.links[0]! };
    const { here, there } = await upload(pair, 4);
    t.equal(there, here);
    t.equal(parity, 0);
    link.link.close(OVER);
  }
});

/** The hash of a megabyte sent, and of what came. */
async function upload({ world, client, server }: WorldPair, seed: number): Promise<{ here: string; there: string }> {
  const bytes = randomBytes(seededRandom(seed), 1024 * 1024);
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  void here.write(bytes).then(() => here.stream.end());
  await world.drive(() => there.ended, 'the upload');
  return { here: hash(bytes), there: hash(there.bytes) };
}

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
