import { randomBytes } from 'node:crypto';
import { test } from 'tap';
import type { LinkStream, StreamHandler } from '../../src/link/link.ts';
import { Bandwidth, throttled } from '../../src/tunnel/bandwidth.ts';
import { eventually } from '../support/deadline.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { dial, echoServer, ending, receive } from '../support/tcp.ts';
import { client, MODES, reload, server } from './tunnels.ts';

const here = (port: number) => ({ host: '127.0.0.1', port });
const RATE = 8_000_000;
/** Bytes a millisecond. */
const PACE = RATE / 8 / 1000;
const BURST = 20 * PACE;

/** A stream that takes everything and has everything. */
class EndlessStream implements LinkStream {
  readonly id = 0;
  handler: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
  wasReset = false;

  read(into: Uint8Array): number {
    return into.length;
  }

  write(chunk: Uint8Array): number {
    return chunk.length;
  }

  end(): void {
    // It is endless.
  }

  reset(): void {
    this.wasReset = true;
  }
}

/** Reads or writes as much as it may, in chunks of this size. */
class User implements StreamHandler {
  bytes = 0;
  readonly stream: LinkStream;
  readonly #chunk: Uint8Array;
  readonly #does: 'read' | 'write';

  constructor(limits: readonly Bandwidth[], does: 'read' | 'write', chunk: number) {
    this.stream = throttled(new EndlessStream(), limits);
    this.stream.handler = this;
    this.#chunk = new Uint8Array(chunk);
    this.#does = does;
  }

  run(): void {
    for (let n = 1; n > 0;) {
      n = this.stream[this.#does](this.#chunk);
      this.bytes += n;
    }
  }

  onReadable(): void {
    if (this.#does === 'read') this.run();
  }

  onWritable(): void {
    if (this.#does === 'write') this.run();
  }

  onReset(): void {
    // Not in these tests.
  }
}

for (const does of ['read', 'write'] as const) {
  test(`${does}: streams share a rate equally, whatever the sizes of their chunks`, async (t) => {
    const clock = new FakeClock();
    const limit = new Bandwidth(RATE, clock);
    const users = [262_144, 65_536, 10_000, 10_000].map((chunk) => new User([limit], does, chunk));
    for (const user of users) user.run();
    await clock.advance(1_000);
    const all = users.reduce((sum, { bytes }) => sum + bytes, 0);
    t.ok(all >= 1_000 * PACE && all <= 1_000 * PACE + BURST + 4 * 65_536, `${all} bytes in 1 s`);
    for (const { bytes } of users) t.ok(bytes > all / 4 / 1.3 && bytes < (all / 4) * 1.3, `${bytes} of ${all}`);
  });

  test(`${does}: one that says little has its turn between those that say much`, async (t) => {
    const clock = new FakeClock();
    const limit = new Bandwidth(RATE, clock);
    for (let n = 0; n < 4; n++) new User([limit], does, 262_144).run();
    await clock.advance(500);
    const little = throttled(new EndlessStream(), [limit]);
    let turns = 0;
    let waiting = false;
    const say = (): void => {
      waiting = little[does](new Uint8Array(100)) === 0;
      if (!waiting) turns++;
    };
    little.handler = { onReadable: say, onWritable: say, onReset() {} };
    for (let n = 0; n < 20; n++) {
      if (!waiting) say();
      const before = turns;
      // Four shares of 5 ms are before it.
      await clock.advance(25);
      if (waiting || turns < before) t.fail(`turn ${n} did not come`);
    }
    t.ok(turns >= 20, `${turns}`);
  });
}

test('what a late timer has let come together is shared, too', async (t) => {
  const clock = new FakeClock();
  const late = { now: () => clock.now(), setTimer: (fire: () => void, delay: number) => clock.setTimer(fire, delay + 15) };
  const limit = new Bandwidth(RATE, late);
  const [first, second] = [new User([limit], 'read', 262_144), new User([limit], 'read', 262_144)];
  first.run();
  second.run();
  t.equal(second.bytes, 0);
  await clock.advance(25);
  t.ok(second.bytes > 0, 'it had a turn in the first round');
});

test('the two directions do not share', async (t) => {
  const clock = new FakeClock();
  const limit = new Bandwidth(RATE, clock);
  const users = [new User([limit], 'read', 65_536), new User([limit], 'write', 65_536)];
  for (const user of users) user.run();
  await clock.advance(1_000);
  for (const { bytes } of users) t.ok(bytes >= 1_000 * PACE, `${bytes}`);
});

test('a client’s limit holds within the tunnel’s', async (t) => {
  const clock = new FakeClock();
  const [tunnel, slow] = [new Bandwidth(RATE, clock), new Bandwidth(RATE / 4, clock)];
  const users = [
    new User([slow, tunnel], 'read', 65_536),
    new User([slow, tunnel], 'read', 65_536),
    new User([tunnel], 'read', 65_536),
  ];
  for (const user of users) user.run();
  await clock.advance(1_000);
  const [a, b, other] = users.map(({ bytes }) => bytes) as [number, number, number];
  t.ok(a + b <= 250 * PACE + BURST + 65_536, `${a} + ${b}`);
  t.ok(a + b >= 200 * PACE, `${a} + ${b}`);
  t.ok(a + b + other >= 1_000 * PACE, 'the rest is the other’s');
  t.ok(a + b + other <= 1_000 * PACE + BURST + 3 * 65_536);
});

test('no limit is no layer; one that is lifted or changed counts at once', async (t) => {
  const clock = new FakeClock();
  const stream = new EndlessStream();
  const limit = new Bandwidth(null, clock);
  t.equal(throttled(stream, [limit]), stream);
  limit.setRate(RATE);
  const user = new User([limit], 'write', 65_536);
  user.run();
  const before = user.bytes;
  limit.setRate(10 * RATE);
  await clock.advance(100);
  t.ok(user.bytes - before >= 900 * PACE, `${user.bytes - before} bytes at the new rate`);
});

test('a stream that is reset while it waits has no turn, and does not hold up the others', async (t) => {
  const clock = new FakeClock();
  const limit = new Bandwidth(RATE, clock);
  const [gone, other] = [new User([limit], 'read', 65_536), new User([limit], 'read', 65_536)];
  gone.run();
  other.run();
  const before = gone.bytes;
  gone.stream.reset('RESET');
  await clock.advance(1_000);
  t.equal(gone.bytes, before);
  t.ok(other.bytes >= 950 * PACE, `${other.bytes}`);
});

for (const { name, ...mode } of MODES)
  for (const end of ['client', 'server'] as const) {
    void test(`${name}: a limit at the ${end}: no more passes than its credit, and every byte arrives`, async (t) => {
      const bits = 40_000_000;
      const limit = { bandwidth: bits };
      const far = await server(t, { ...mode, backend: here(await echoServer(t)), ...(end === 'server' && limit) });
      const near = await client(t, far.tunnel, { ...mode, ...(end === 'client' && limit) });
      const begin = performance.now();
      const block = randomBytes(1_000_000);
      const [bulk, small] = [await dial(t, near.port), await dial(t, near.port)];
      bulk.write(block);
      const back = receive(bulk, block.length);
      small.write('in between');
      t.equal((await receive(small, 10)).toString(), 'in between');
      t.ok((await back).equals(block));
      const credit = ((performance.now() - begin) * bits) / 8 / 1000;
      t.ok(block.length <= credit + (20 * bits) / 8 / 1000 + 65_536, `${block.length} bytes, credit for ${credit}`);
      const { sent } = end === 'client' ? near.metrics : far.metrics;
      t.equal(sent, block.length + 10);
      bulk.resetAndDestroy();
      await eventually('the connection to end', () => far.metrics.closed === 1 && near.metrics.closed === 1);
    });
  }

void test('a client’s own limit, changed by a reload while it transfers', async (t) => {
  const entry = {
    name: 'laptop',
    secret: 'S',
    secretFile: null,
    fingerprints: null,
    backends: null,
    maxConnections: null,
    bandwidth: 80_000,
    ports: null,
  };
  const far = await server(t, { backend: here(await echoServer(t)), clients: [entry] });
  const near = await client(t, far.tunnel, { clientName: 'laptop', secret: 'S' });
  const bulk = await dial(t, near.port);
  const block = randomBytes(2_000_000);
  bulk.write(block);
  t.ok((await receive(bulk, 10_000)).equals(block.subarray(0, 10_000)));
  // At 10 kB a second the rest would take minutes.
  await reload(far.tunnel, { clients: [{ ...entry, bandwidth: 1_000_000_000 }] });
  t.ok((await receive(bulk, block.length - 10_000)).equals(block.subarray(10_000)));
  await reload(far.tunnel, { clients: [] });
  t.equal(await ending(bulk), 'reset');
});
