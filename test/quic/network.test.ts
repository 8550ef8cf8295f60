import { createHash } from 'node:crypto';
import { type Test, test } from 'tap';
import { REPORT_TYPE, SHARD_TYPE } from '../../src/protocol/connection-id.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { makeWorld, newKeys, OVER, PORT, quic, quicOptions, REQUEST, World, type WorldPair } from './pair.ts';

const MIB = 1024 * 1024;
const BAD = { delay: 5, loss: 0.02, burst: 2, duplicate: 0.02, reorder: 0.02, corrupt: 0.01 };

for (const congestion of ['bbr', 'cubic'] as const) {
  void test(`5 MB each way at once over a bad network (${congestion})`, { timeout: 120_000 }, async (t) => {
    for (const seed of [1, 2, 3]) {
      const pair = await makeWorld({ seed, conditions: BAD, link: { congestion } });
      const seen = countForms(pair);
      const { here, there } = await transfer(pair, seed, 5 * MIB);
      t.equal(here, there, `seed ${seed}`);
      if (congestion === 'bbr') carriedInBlocks(t, seen);
      else
        t.notOk(
          seen.some((counts) => counts.has(SHARD_TYPE) || counts.has(REPORT_TYPE)),
          'QUIC alone',
        );
      t.ok(quic(pair.client).stats().packetsLost > 0, 'the network was bad');
      pair.client.link.close(OVER);
    }
  });
}

void test('a slow network with a short queue', { timeout: 120_000 }, async (t) => {
  const conditions = { delay: 5, rate: 4e6, queue: 40_000 };
  const pair = await makeWorld({ seed: 4, conditions });
  const seen = countForms(pair);
  const { here, there } = await transfer(pair, 4, MIB);
  t.equal(here, there);
  carriedInBlocks(t, seen);
  pair.client.link.close(OVER);
});

void test('a handshake at 30 % loss', { timeout: 120_000 }, async (t) => {
  for (const seed of [1, 2, 3]) {
    const world = new World(seed, { delay: 2, loss: 0.3 });
    await world.listen();
    const client = new LinkRecorder(await world.connectInSpiteOfLoss());
    t.equal(client.link.state, 'up', `seed ${seed}`);
    client.link.close(OVER);
  }
});

void test('a path that takes no datagrams of 1350 bytes makes no link, and says why', async (t) => {
  const world = new World(1, { mtu: 1280 });
  await world.listen();
  const connecting = world.connect();
  const failed = t.rejects(connecting, { code: 'LINK_TIMEOUT' });
  await world.clock.advance(10_000);
  await failed;
  await world.drive(() => world.network.clients[0]!.closed, 'the socket to be closed');
});

void test('a path that is down for a while: stalled, then up again, and streams go on', async (t) => {
  const { world, client, server } = await makeWorld({ link: { keepalive: 1000 } });
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  world.network.set({ down: true });
  here.stream.write(Buffer.from('sent into the dark'));
  await world.clock.advance(4_000);
  t.equal(client.link.state, 'stalled');
  await world.clock.advance(10_000);
  t.strictSame([client.states, here.resets.length], [['stalled'], 0]);
  world.network.set({ down: false });
  await world.drive(() => there.text === 'sent into the dark', 'what was sent');
  await world.drive(() => client.link.state === 'up', 'the link to be up');
  t.strictSame(client.states, ['stalled', 'up']);
  client.link.close(OVER);
});

void test('a path that stays down: both sides lose the link after the idle timeout', async (t) => {
  const { world, client, server } = await makeWorld({ link: { idleTimeout: 10_000, keepalive: 1000 } });
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  world.network.set({ down: true });
  await world.clock.advance(9_000);
  t.strictSame([client.link.state, server.link.state], ['stalled', 'stalled']);
  await world.clock.advance(2_000);
  t.strictSame([client.closes[0]?.code, server.closes[0]?.code], ['LINK_LOST', 'LINK_LOST']);
  t.strictSame([here.resets[0]?.reason, there.resets[0]?.reason], ['LINK_LOST', 'LINK_LOST']);
});

void test('an idle link lives on keepalives, which cost little', async (t) => {
  const { world, client, server } = await makeWorld({ link: { keepalive: 10_000, idleTimeout: 30_000 } });
  await world.clock.advance(1_000);
  const { up, down } = world.network;
  const before = { datagrams: up.sent + down.sent, bytes: up.sentBytes + down.sentBytes, timers: world.clock.timersSet };
  await world.clock.advance(600_000);
  t.strictSame([client.states, server.states], [[], []], 'nothing happened to the link');
  const datagrams = up.sent + down.sent - before.datagrams;
  const bytes = up.sentBytes + down.sentBytes - before.bytes;
  t.ok(datagrams >= 100 && datagrams <= 200, `${datagrams} datagrams in 10 minutes`);
  t.ok(bytes <= 10_000, `${bytes} bytes in 10 minutes`);
  client.link.close(OVER);
});

void test('a server that was restarted with the same identity ends the link at once', async (t) => {
  const { world, client } = await makeWorld();
  kill(world);
  await world.listen(quicOptions(), { ...newKeys(world.keys.nodeKey) });
  client.link.open(REQUEST);
  await world.clock.advance(50);
  t.equal(client.closes[0]?.code, 'LINK_LOST');
  t.match(client.closes[0]?.message, /restarted/);
});

void test('made-up ids do not keep a restarted server from telling its clients', async (t) => {
  const { world, client } = await makeWorld();
  kill(world);
  await world.listen(quicOptions(), { ...newKeys(world.keys.nodeKey) });
  const server = { host: '127.0.0.1', port: PORT };
  const stranger = await world.network.open({ bind: { host: '', port: 0 }, connect: server });
  const random = seededRandom(1);
  const { sent } = world.network.down;
  for (let n = 0; n < 300; n++) {
    stranger.sendBuffer.set([0x40, ...randomBytes(random, 50)]);
    stranger.send(51, 51, server);
  }
  await world.clock.advance(1);
  t.equal(world.network.down.sent, sent);
  client.link.open(REQUEST);
  await world.clock.advance(50);
  t.match(client.closes[0]?.message, /restarted/);
});

void test('a server with another identity answers nothing to a client that it does not know', async (t) => {
  const { world, client } = await makeWorld();
  kill(world);
  await world.listen(quicOptions(), newKeys());
  const { sent } = world.network.down;
  client.link.open(REQUEST);
  await world.clock.advance(1_000);
  t.equal(world.network.down.sent, sent);
  t.equal(client.closes.length, 0);
  client.link.close(OVER);
});

void test(
  'a client whose address changes goes on, again and again, in the middle of a transfer',
  { timeout: 120_000 },
  async (t) => {
    const pair = await makeWorld({ conditions: { delay: 5 } });
    const { world, server } = pair;
    const seen = countForms(pair);
    const nat = world.network.clients[0]!;
    let rebinds = 0;
    const chunk = 500_000;
    const { here, there } = await transfer(pair, 5, 5 * MIB, (received) => {
      if (received < (rebinds + 1) * chunk || rebinds >= 8) return;
      rebinds++;
      world.network.rebind(nat);
    });
    t.equal(here, there);
    t.equal(rebinds, 8);
    carriedInBlocks(t, seen);
    t.equal(server.link.peer, `127.0.0.1:${nat.outerPort}`, 'the server knows where the client is');
    pair.client.link.close(OVER);
  },
);

void test('a client whose address changes in the midst of an upload goes on within a second', { timeout: 120_000 }, async (t) => {
  for (const loss of [0, 0.02]) {
    const pair = await makeWorld({ seed: 3, conditions: { delay: 20, rate: 5e6, queue: 300_000, loss } });
    const { world, client, server } = pair;
    const here = new StreamRecorder(client.link.open(REQUEST));
    const { recorder: there } = await world.until(server.accept());
    here.write(new Uint8Array(20 * MIB)).catch(() => {});
    for (let n = 1; n <= 5; n++) {
      await world.drive(() => there.received > n * MIB, 'a part of the upload');
      world.network.rebind(world.network.clients[0]!);
      const { received } = there;
      await world.clock.advance(1_000);
      t.ok(there.received > received + MIB / 4, `${there.received - received} bytes after ${n} moves at ${100 * loss} % loss`);
    }
    client.link.close(OVER);
  }
});

void test('an outage of ten seconds in the midst of an upload: it goes on within two', { timeout: 120_000 }, async (t) => {
  const pair = await makeWorld({ conditions: { delay: 20, rate: 5e6, queue: 300_000 } });
  const { world, client, server } = pair;
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  here.write(new Uint8Array(40 * MIB)).catch(() => {});
  await world.drive(() => there.received > MIB, 'a part of the upload');
  world.network.set({ down: true });
  await world.clock.advance(10_000);
  const { received } = there;
  world.network.set({ down: false });
  await world.clock.advance(2_000);
  t.ok(there.received > received + MIB, `${there.received - received} bytes`);
  client.link.close(OVER);
});

void test('an idle client whose address changes is found again', async (t) => {
  const pair = await makeWorld();
  const { world, client, server } = pair;
  for (let n = 0; n < 100; n++) {
    world.network.rebind(world.network.clients[0]!);
    await world.clock.advance(11_000);
  }
  const stream = new StreamRecorder(server.link.open(REQUEST));
  stream.stream.write(Buffer.from('hello'));
  const { recorder } = await world.until(client.accept());
  await world.drive(() => recorder.text === 'hello', 'bytes');
  t.strictSame([client.states, server.states], [[], []]);
  client.link.close(OVER);
});

/** How many datagrams of each first byte are sent from now on, by clients and by servers. */
function countForms({ world }: WorldPair): Map<number, number>[] {
  const seen = [new Map<number, number>(), new Map<number, number>()];
  world.network.onSend = (bytes, from) => {
    const counts = seen[from.isClient ? 0 : 1]!;
    counts.set(bytes[0]!, (counts.get(bytes[0]!) ?? 0) + 1);
  };
  return seen;
}

/** Both sides sent shards and reports, and hardly anything else. */
function carriedInBlocks(t: Test, seen: readonly Map<number, number>[]): void {
  for (const counts of seen) {
    const [shards, reports] = [counts.get(SHARD_TYPE) ?? 0, counts.get(REPORT_TYPE) ?? 0];
    const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
    t.ok(shards > 0.6 * all && reports > 0, `${shards} shards and ${reports} reports of ${all} datagrams`);
  }
}

/** The server's process is gone without a word. */
function kill(world: World): void {
  world.network.vacate(PORT);
}

/** Sends `size` bytes both ways on one stream; the hashes of what was sent and of what arrived. */
async function transfer(
  { world, client, server }: WorldPair,
  seed: number,
  size: number,
  onProgress: (received: number) => void = () => {},
): Promise<{ here: string; there: string }> {
  const random = seededRandom(seed);
  const up = randomBytes(random, size);
  const down = randomBytes(random, size);
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  void here.write(up).then(() => here.stream.end());
  void there.write(down).then(() => there.stream.end());
  await world.drive(() => {
    onProgress(there.received);
    return (here.ended && there.ended) || here.resets.length > 0;
  }, 'a transfer');
  return { here: sha256(up) + sha256(down), there: sha256(there.bytes) + sha256(here.bytes) };
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
