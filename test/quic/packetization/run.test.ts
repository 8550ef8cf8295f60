import { test } from 'tap';
import { DatagramRun } from '../../../src/quic/packetization/run.ts';
import type { UdpAddress } from '../../../src/udp/socket.ts';
import { datagramsOf, FakeUdp } from './fake-udp.ts';

const SIZE = 1_350;
const A = { host: '127.0.0.1', port: 1 };
const B = { host: '127.0.0.1', port: 2 };

function push(run: DatagramRun, value: number, to: UdpAddress, length = SIZE): void {
  run.next().fill(value, 0, length);
  run.push(length, to);
}

/** Each run as its receiver's port, and value × length of each datagram. */
function sent(udp: FakeUdp): string[] {
  return udp.takeRuns().map((run) => {
    const datagrams = datagramsOf(run).map((datagram) => {
      const value = datagram[0]!;
      return datagram.every((byte) => byte === value) ? `${value}×${datagram.length}` : 'mixed';
    });
    return `${run.to.port}: ${datagrams.join(' ')}`;
  });
}

test('full datagrams wait for flush and go out in one run', async (t) => {
  const udp = new FakeUdp();
  const run = new DatagramRun(udp, SIZE);
  for (const value of [1, 2, 3]) push(run, value, A);
  t.same(sent(udp), []);
  run.flush();
  t.same(sent(udp), ['1: 1×1350 2×1350 3×1350']);
  run.flush();
  t.same(sent(udp), [], 'nothing is left');
});

test('a datagram that is not full ends the run', async (t) => {
  const udp = new FakeUdp();
  const run = new DatagramRun(udp, SIZE);
  push(run, 1, A);
  push(run, 2, A, 1_349);
  push(run, 3, A, 1);
  t.same(sent(udp), ['1: 1×1350 2×1349', '1: 3×1']);
});

test('a run has one receiver', async (t) => {
  const udp = new FakeUdp();
  const run = new DatagramRun(udp, SIZE);
  push(run, 1, A);
  push(run, 2, A);
  push(run, 3, B);
  push(run, 4, B);
  push(run, 5, A, 7);
  run.flush();
  t.same(sent(udp), ['1: 1×1350 2×1350', '2: 3×1350 4×1350', '1: 5×7']);
});

test('a full buffer goes out by itself', async (t) => {
  for (const size of [1, 1_200, 1_350, 16_384, 32_769, 65_536]) {
    const udp = new FakeUdp();
    const run = new DatagramRun(udp, size);
    const room = Math.floor(65_536 / size);
    const count = Math.min(2 * room + 1, 70_000);
    for (let i = 0; i < count; i++) push(run, i & 0x7f, A, size);
    run.flush();
    const runs = udp.takeRuns();
    t.same(runs[0]!.bytes.length, room * size, `${size} bytes each`);
    const values = runs.flatMap(datagramsOf).map((datagram) => datagram[0]);
    t.ok(values.length === count && values.every((value, i) => value === (i & 0x7f)), 'every datagram, in order');
  }
});
