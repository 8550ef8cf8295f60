import { test } from 'tap';
import { hmacSha256 } from '../../../src/identity/secret.ts';
import { MtuProbes } from '../../../src/quic/packetization/mtu-probes.ts';
import { DatagramRun } from '../../../src/quic/packetization/run.ts';
import { ID } from '../../protocol/shards.ts';
import { datagramsOf, FakeUdp } from './fake-udp.ts';

const TO = { host: '127.0.0.1', port: 2 };
const SIZES = [1_350, 1_472, 8_216];
const KEYS = [1, 2].map((value) => new Uint8Array(32).fill(value)) as [Uint8Array, Uint8Array];
const RTT = 10;

/** One end: what it sends comes out of `turn`. */
class End {
  readonly udp = new FakeUdp();
  readonly probes: MtuProbes;

  constructor(toPeer: Uint8Array, fromPeer: Uint8Array) {
    const run = new DatagramRun(this.udp, SIZES[0]!);
    this.probes = new MtuProbes({ run, hmac: hmacSha256, peerId: ID, keys: { toPeer, fromPeer }, sizes: SIZES, now: 0 });
  }

  turn(now: number): Uint8Array[] {
    this.probes.handleTurn(now, RTT, TO);
    return this.udp.takeRuns().flatMap(datagramsOf);
  }

  take(datagram: Uint8Array, now: number): boolean {
    return this.probes.handleProbe(datagram, 0, datagram.length, now);
  }
}

const ends = (): [End, End] => [new End(...KEYS), new End(KEYS[1], KEYS[0])];

test('each end finds the size in a few round trips', async (t) => {
  const [here, there] = ends();
  for (let now = 0; now < 100; now += RTT) {
    for (const datagram of here.turn(now)) there.take(datagram, now);
    for (const datagram of there.turn(now)) here.take(datagram, now);
  }
  t.same([here.probes.size, there.probes.size], [8_216, 8_216]);
  t.equal(here.probes.deadline, Infinity);
});

test('copies of a probe are answered once', async (t) => {
  const [here, there] = ends();
  const [probe] = here.turn(0) as [Uint8Array];
  t.equal(probe.length, 1_472);
  t.ok(there.take(probe, 1));
  t.notOk(there.take(probe, 2), 'nor do they show that the peer is there');
  const sizes = there.turn(3).map(({ length }) => length);
  t.same(sizes, [40, 1_472], 'the answer, and its own probe');
  t.same(there.turn(4), []);
});

test('an answer that somebody has kept changes nothing later', async (t) => {
  const [here, there] = ends();
  there.take(here.turn(0)[0]!, 0);
  const answer = there.turn(0)[0]!;
  t.ok(here.take(answer, 1));
  t.equal(here.probes.size, 1_472);
  t.ok(here.probes.handleBlackHole(2));
  t.equal(here.probes.size, 1_350);
  const again = here.probes.deadline;
  t.equal(here.turn(again)[0]!.length, 1_472, 'the same size is asked for again');
  t.notOk(here.take(answer, again + 1));
  t.equal(here.probes.size, 1_350);
});

test('what is forged, cut short or sent back is nothing', async (t) => {
  const [here, there] = ends();
  const [probe] = here.turn(0) as [Uint8Array];
  const forged = Uint8Array.from(probe);
  forged[20]! ^= 1;
  for (const bytes of [forged, probe.subarray(0, 39), probe.subarray(0, 1_400), new Uint8Array(0)]) t.notOk(there.take(bytes, 1));
  t.notOk(here.take(probe, 1), 'to its own sender');
  t.same(
    there.turn(2).map(({ length }) => length),
    [1_472],
    'no answer',
  );
});
