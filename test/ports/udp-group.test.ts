import dgram from 'node:dgram';
import { once } from 'node:events';
import { test } from 'tap';
import type { Test } from 'tap';
import { placeId } from '../../src/protocol/place.ts';
import { bindDgram, closeQuietly } from '../../src/udp/bind.ts';
import type { UdpAddress } from '../../src/udp/socket.ts';
import { loadSocketCalls } from '../../src/ports/socket-calls.ts';
import { openUdpGroup, steer, type Steering } from '../../src/ports/udp-group.ts';
import { eventually } from '../support/deadline.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { onLinux } from '../support/workers.ts';

const WORKERS = 3;
const calls = loadSocketCalls()!;

for (const [name, bind, to] of [
  ['IPv4', { host: '127.0.0.1', port: 0 }, '127.0.0.1'],
  ['IPv6 and IPv4', { host: '', port: 0 }, '127.0.0.1'],
] as const) {
  test(`${name}: each datagram comes to the socket that its connection id names, wherever it comes from`, onLinux, async (t) => {
    const { address, received } = await group(t, bind);
    const random = seededRandom(7);
    const sent = Array.from({ length: WORKERS }, () => [] as string[]);
    const senders = [await sender(t), await sender(t), await sender(t)];
    for (let n = 0; n < 90; n++) {
      const index = n % WORKERS;
      const id = placeId(randomBytes(random, 16), { index, count: WORKERS });
      const packet = [shortHeader, shard, longHeader][Math.floor(n / WORKERS) % 3]!(id);
      sent[index]!.push(packet.toString('hex'));
      senders[Math.floor(n / 9) % 3]!.send(packet, address.port, to);
    }
    await eventually('all of them', () => received.flat().length === 90);
    t.same(
      received.map((list) => list.toSorted()),
      sent.map((list) => list.toSorted()),
    );
  });
}

test('a datagram that is too short to name a worker comes to the first', onLinux, async (t) => {
  const { address, received } = await group(t, { host: '127.0.0.1', port: 0 });
  const socket = await sender(t);
  for (const bytes of [[0xc0], [0x40], [0xc0, 0, 0, 0, 1]]) socket.send(Buffer.from(bytes), address.port, '127.0.0.1');
  await eventually('all of them', () => received[0]!.length === 3);
});

test('a port that somebody has is refused, and one that was shared is free when the group has been closed', onLinux, async (t) => {
  const first = await openUdpGroup({ host: '127.0.0.1', port: 0 }, WORKERS, calls);
  await t.rejects(openUdpGroup(first.address, WORKERS, calls), { code: 'LISTEN_FAILED', message: /another program uses it/ });
  await t.rejects(bindDgram({ bind: first.address }), { code: 'LISTEN_FAILED' });
  first.close();
  const alone = await bindDgram({ bind: first.address });
  alone.close();
});

test('a socket that is closed does not change where the others’ datagrams go, as long as the group is open', onLinux, async (t) => {
  const { address, received, sockets } = await group(t, { host: '127.0.0.1', port: 0 });
  sockets[0]!.close();
  const socket = await sender(t);
  for (const index of [1, 2, 0, 1, 2]) {
    const id = placeId(new Uint8Array(16), { index, count: WORKERS });
    socket.send(shortHeader(id), address.port, '127.0.0.1');
  }
  await eventually('what is not for the closed one', () => received.flat().length === 4);
  t.same(
    received.map((list) => list.length),
    [0, 2, 2],
  );
});

test('two processes at a port: what is new comes to one of them, the rest to the one that its id names', onLinux, async (t) => {
  for (const first of [0, WORKERS]) {
    const { address, received } = await group(t, { host: '127.0.0.1', port: 0 }, { workers: WORKERS, first, shared: true });
    const socket = await sender(t);
    const expected = Array.from({ length: 2 * WORKERS }, () => [] as string[]);
    const random = seededRandom(9);
    for (let index = 0; index < 2 * WORKERS; index++) {
      const id = placeId(randomBytes(random, 16), { index, count: 2 * WORKERS });
      for (const [packet, to] of [
        [shortHeader(id), index],
        [shard(id), index],
        [longType(0x20, longHeader(id)), index],
        [longType(0x00, longHeader(id)), first + (index % WORKERS)],
        [longType(0x10, longHeader(id)), first + (index % WORKERS)],
      ] as const) {
        expected[to]!.push(packet.toString('hex'));
        socket.send(packet, address.port, '127.0.0.1');
      }
    }
    await eventually('all of them', () => received.flat().length === expected.flat().length);
    t.same(
      received.map((list) => list.toSorted()),
      expected.map((list) => list.toSorted()),
    );
  }
});

test('a process that is alone gets everything, whatever the ids name', onLinux, async (t) => {
  const { address, received } = await group(t, { host: '127.0.0.1', port: 0 }, { workers: 1, first: 1, shared: false });
  const socket = await sender(t);
  for (const index of [0, 1]) {
    const id = placeId(new Uint8Array(16), { index, count: 2 });
    for (const packet of [shortHeader(id), longHeader(id)]) socket.send(packet, address.port, '127.0.0.1');
  }
  await eventually('all of them', () => received[1]!.length === 4);
});

/** A group whose sockets are read here. */
async function group(
  t: Test,
  bind: UdpAddress,
  steering: Steering = { workers: WORKERS, first: 0, shared: false },
): Promise<{ address: UdpAddress; received: string[][]; sockets: dgram.Socket[] }> {
  const opened = await openUdpGroup(bind, steering.shared || steering.first > 0 ? 2 * steering.workers : steering.workers, calls);
  steer(opened, steering, calls);
  const received: string[][] = opened.descriptors.map(() => []);
  const sockets = await Promise.all(opened.descriptors.map((fd) => bindDgram({ bind: opened.address, fd: calls.duplicate(fd) })));
  for (const [index, socket] of sockets.entries()) socket.on('message', (bytes) => received[index]!.push(bytes.toString('hex')));
  t.teardown(() => {
    for (const socket of sockets) closeQuietly(socket);
    opened.close();
  });
  return { address: opened.address, received, sockets };
}

async function sender(t: Test): Promise<dgram.Socket> {
  const socket = dgram.createSocket('udp4');
  t.teardown(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

function shortHeader(id: Uint8Array): Buffer {
  return Buffer.from([0x40, ...id, 1, 2, 3]);
}

function shard(id: Uint8Array): Buffer {
  return Buffer.from([0x20, ...id, 1, 2, 3]);
}

function longType(type: number, packet: Buffer): Buffer {
  packet[0] = 0xc0 | type;
  return packet;
}

function longHeader(id: Uint8Array): Buffer {
  return Buffer.from([0xc3, 0, 0, 0, 1, id.length, ...id, 0]);
}
