import { test } from 'tap';
import { SHARD_TYPE } from '../../src/protocol/connection-id.ts';
import { StreamRecorder } from '../link/recorder.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { makeWorld, OVER, REQUEST, type WorldPair } from './pair.ts';

const PATH = { delay: 5, rate: 20e6, queue: 400_000 };
const SECOND = 1_000;

/** The sizes of the shards that leave the client and the server. */
function shardSizes({ world }: WorldPair): { client: number[]; server: number[] } {
  const sizes: ReturnType<typeof shardSizes> = { client: [], server: [] };
  world.network.onSend = (bytes, from) => {
    if (bytes[0] === SHARD_TYPE) sizes[from.isClient ? 'client' : 'server'].push(bytes.length);
  };
  return sizes;
}

/** A transfer each way; `onProgress` hears how much has come at the server so far. */
async function transfer({ world, client, server }: WorldPair, size: number, onProgress: (received: number) => void = () => {}) {
  const bytes = randomBytes(seededRandom(size), size);
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  void here.write(bytes).then(() => here.stream.end());
  void there.write(bytes).then(() => there.stream.end());
  await world.drive(() => {
    onProgress(there.received);
    return here.ended && there.ended;
  }, 'a transfer');
  return Buffer.compare(here.bytes, bytes) === 0 && Buffer.compare(there.bytes, bytes) === 0;
}

for (const [mtu, size] of [
  [1_400, 1_350],
  [1_460, 1_452],
  [1_472, 1_472],
  [8_972, 8_220],
  [65_507, 16_411],
] as const) {
  void test(`a path that carries ${mtu} bytes gets datagrams of ${size}`, async (t) => {
    const pair = await makeWorld({ conditions: { ...PATH, mtu }, keepsWhole: true });
    // Each probe that gets lost takes half a second.
    await pair.world.clock.advance(2 * SECOND);
    const sizes = shardSizes(pair);
    t.ok(await transfer(pair, 2e6));
    t.equal(Math.max(...sizes.client), size);
    t.equal(Math.max(...sizes.server), size);
    pair.client.link.close(OVER);
  });
}

void test('a socket that cannot forbid fragments probes nothing', async (t) => {
  const pair = await makeWorld({ conditions: PATH });
  await pair.world.clock.advance(2 * SECOND);
  const sizes = shardSizes(pair);
  t.ok(await transfer(pair, 2e6));
  t.equal(Math.max(...sizes.client, ...sizes.server), 1_350);
  pair.client.link.close(OVER);
});

for (const [before, after] of [
  [16_411, 1_400],
  [1_472, 1_350],
  [8_220, 1_460],
] as const) {
  void test(`in the midst of a transfer the path carries ${after} bytes instead of ${before}: nothing is lost`, async (t) => {
    const pair = await makeWorld({ conditions: { ...PATH, mtu: before }, keepsWhole: true });
    await pair.world.clock.advance(2 * SECOND);
    const sizes = shardSizes(pair);
    let changedAt = 0;
    const isWhole = await transfer(pair, 6e6, (received) => {
      if (changedAt > 0 || received < 2e6) return;
      changedAt = pair.world.clock.now();
      t.equal(Math.max(...sizes.client), before);
      pair.world.network.set({ mtu: after });
    });
    t.ok(isWhole);
    t.ok(changedAt > 0);
    t.equal(sizes.client.at(-1)! <= 1_350, true, 'back to what is safe');
    t.same(
      pair.client.states.filter((state) => state === 'closed'),
      [],
    );
    sizes.client = [];
    await pair.world.clock.advance(61 * SECOND);
    t.ok(await transfer(pair, 1e6));
    t.ok(Math.max(...sizes.client) <= after, 'and from there what the path carries now');
    if (after > 1_452) t.equal(Math.max(...sizes.client), 1_452);
    pair.client.link.close(OVER);
  });
}
