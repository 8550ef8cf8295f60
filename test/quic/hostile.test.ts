import { randomBytes as trueRandomBytes } from 'node:crypto';
import { test } from 'tap';
import type { QtunnelError } from '../../src/errors.ts';
import { FRAME, frame, FRAME_HEADER, MAX_CONTROL, writeFrameHeader } from '../../src/protocol/frames.ts';
import {
  encodeCredit,
  encodeFin,
  encodeMove,
  encodeOpen,
  encodeReset,
  SMALL_HEADER,
  writeSmall,
} from '../../src/protocol/messages.ts';
import { CLOSE } from '../../src/quic/close.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import type { MemorySocket } from '../support/memory-network.ts';
import { integerBetween, randomBytes, seededRandom } from '../support/random.ts';
import { connectOptions, OVER, PORT, quic, quicOptions, REQUEST, World } from './pair.ts';
import { RawClient } from './raw-client.ts';

const STREAM = 2;
const QUIC_STREAM = 2;
const OPEN = open(STREAM);
const MOVE = encodeMove(STREAM, QUIC_STREAM);
const FIN = encodeFin(STREAM);

/** A world with one good client, whose link must outlive whatever a test does. */
async function worldWithGoodClient(key?: null): Promise<{ world: World; good: LinkRecorder; goodServer: LinkRecorder }> {
  const world = new World(1, {}, key);
  const options = { buffer: 65_536, key: world.key };
  await world.listen(quicOptions(options));
  const good = new LinkRecorder(await world.until(world.connect(connectOptions(options))));
  await world.drive(() => world.links.length > 0, 'the good link');
  return { world, good, goodServer: world.links[0]! };
}

async function stillGood(world: World, good: LinkRecorder, goodServer: LinkRecorder): Promise<void> {
  const here = new StreamRecorder(good.link.open(REQUEST));
  here.stream.write(Buffer.from('still here?'));
  here.stream.end();
  const { recorder: there } = await world.until(goodServer.accept());
  await world.drive(() => there.ended, 'the good link’s stream');
  there.stream.end();
  await world.drive(() => here.ended, 'the good link’s stream');
  if (there.text !== 'still here?' || good.closes.length > 0) throw new Error('The good link was disturbed.');
}

/** Nobody is left at the server: it lets go of its socket once it takes no more clients. */
async function nobodyIsLeft(world: World): Promise<boolean> {
  const { server } = world.network;
  void world.listener.close();
  await world.drive(() => server(PORT) === null, 'the server’s socket to be closed');
  return true;
}

const BAD_GREETINGS: [string, (client: RawClient) => void, QtunnelError['code'], number][] = [
  ['the wrong secret', (client) => client.send(0, client.hello({ key: new Uint8Array(32) }), false), 'AUTH_REJECTED', CLOSE.AUTH],
  ['no secret', (client) => client.send(0, client.hello({ key: null }), false), 'AUTH_REJECTED', CLOSE.AUTH],
  ['HELLO of another version', (client) => client.send(0, otherVersion(client.hello()), false), 'VERSION_MISMATCH', CLOSE.VERSION],
  [
    'PING before HELLO',
    (client) => client.send(0, frame(FRAME.PING, new Uint8Array(8)), false),
    'PROTOCOL_VIOLATION',
    CLOSE.PROTOCOL,
  ],
  [
    'garbage for HELLO',
    (client) => client.send(0, Buffer.from('GET / HTTP/1.1\r\n\r\n'), false),
    'PROTOCOL_VIOLATION',
    CLOSE.PROTOCOL,
  ],
  [
    'HELLO cut short',
    (client) => client.send(0, frame(FRAME.HELLO, Uint8Array.of(1, 2, 3)), false),
    'PROTOCOL_VIOLATION',
    CLOSE.PROTOCOL,
  ],
  [
    'an oversized frame',
    (client) => client.send(0, headerOf(FRAME.HELLO, MAX_CONTROL + 1), false),
    'PROTOCOL_VIOLATION',
    CLOSE.PROTOCOL,
  ],
  [
    'DATA before HELLO',
    (client) => client.send(0, frame(FRAME.DATA, Uint8Array.of(1)), false),
    'PROTOCOL_VIOLATION',
    CLOSE.PROTOCOL,
  ],
  ['the end of the control stream', (client) => client.send(0, Uint8Array.of(1), true), 'PROTOCOL_VIOLATION', CLOSE.PROTOCOL],
  ['HELLO on a stream that takes no answer', stopControl, 'PROTOCOL_VIOLATION', CLOSE.PROTOCOL],
];

void test('greetings that the server refuses', async (t) => {
  const { world, good, goodServer } = await worldWithGoodClient();
  for (const [name, act, code, closeCode] of BAD_GREETINGS) {
    const client = await RawClient.connect(world);
    const failures = world.failures.length;
    act(client);
    const close = await client.closed();
    t.equal(world.failures[failures]?.error.code, code, name);
    t.equal(close.code, closeCode, `${name}: ${close.reason}`);
    t.equal(world.failures.length, failures + 1);
    await stillGood(world, good, goodServer);
  }
  t.equal(world.links.length, 1);
  good.link.close(OVER);
  t.ok(await nobodyIsLeft(world));
});

void test('another ALPN', async (t) => {
  const { world, good, goodServer } = await worldWithGoodClient();
  const client = await RawClient.connect(world, 'h3');
  t.equal(client.native.peerError()?.errorCode, 0x178);
  await world.drive(() => world.failures.length > 0, 'the failure');
  t.equal(world.failures[0]!.error.code, 'VERSION_MISMATCH');
  await stillGood(world, good, goodServer);
  good.link.close(OVER);
  t.ok(await nobodyIsLeft(world));
});

void test('a client that says nothing is sent away', async (t) => {
  const { world, good, goodServer } = await worldWithGoodClient();
  const client = await RawClient.connect(world);
  await world.clock.advance(10_000);
  t.equal(world.failures[0]?.error.code, 'LINK_TIMEOUT');
  t.equal((await client.closed()).code, CLOSE.TIMEOUT);
  await stillGood(world, good, goodServer);
});

const MISDEEDS: [string, (client: RawClient) => void][] = [
  ['DATA on the control stream', (client) => client.send(0, frame(FRAME.DATA, Uint8Array.of(1)), false)],
  ['an unknown frame', (client) => client.send(0, frame(0x7f, Uint8Array.of(1)), false)],
  ['a second HELLO', (client) => client.send(0, client.hello(), false)],
  ['an oversized frame', (client) => client.send(0, headerOf(FRAME.RESET, MAX_CONTROL + 1), false)],
  ['a CREDIT that does not parse', (client) => client.send(0, frame(FRAME.CREDIT, Uint8Array.of(0xff)), false)],
  ['a short PING', (client) => client.send(0, frame(FRAME.PING, Uint8Array.of(1)), false)],
  ['the end of the control stream', (client) => client.send(0, Uint8Array.of(FRAME.PING), true)],
  ['a reset of the control stream', (client) => resetStream(client, 0)],
  ['an empty OPEN', (client) => client.send(0, headerOf(FRAME.OPEN, 0), false)],
  ['an OPEN that does not parse', (client) => client.send(0, frame(FRAME.OPEN, Uint8Array.of(2, 1, 2)), false)],
  ['OPEN with a number of the server’s', (client) => client.send(0, open(1), false)],
  ['OPEN with a number that was used', (client) => client.send(0, both(open(4), OPEN), false)],
  ['the same OPEN twice', (client) => client.send(0, both(OPEN, OPEN), false)],
  ['SMALL before OPEN', (client) => client.send(0, small(STREAM, 10), false)],
  ['SMALL for a stream that the server has not opened', (client) => client.send(0, small(1, 10), false)],
  ['SMALL without a stream', (client) => client.send(0, frame(FRAME.SMALL, new Uint8Array(0)), false)],
  ['SMALL after FIN', (client) => client.send(0, both(OPEN, FIN, small(STREAM, 10)), false)],
  ['SMALL after MOVE', (client) => client.send(0, both(OPEN, MOVE, small(STREAM, 10)), false)],
  ['FIN before OPEN', (client) => client.send(0, FIN, false)],
  ['FIN twice', (client) => client.send(0, both(OPEN, FIN, FIN), false)],
  ['FIN after MOVE', (client) => client.send(0, both(OPEN, MOVE, FIN), false)],
  ['MOVE before OPEN', (client) => client.send(0, MOVE, false)],
  ['MOVE after FIN', (client) => client.send(0, both(OPEN, FIN, MOVE), false)],
  ['MOVE twice', (client) => client.send(0, both(OPEN, MOVE, encodeMove(STREAM, 6)), false)],
  ['MOVE to a QUIC stream of the server’s', (client) => client.send(0, both(OPEN, encodeMove(STREAM, 3)), false)],
  ['MOVE to the control stream', (client) => client.send(0, both(OPEN, encodeMove(STREAM, 0)), false)],
  ['MOVE to a QUIC stream that is taken', (client) => client.send(0, both(OPEN, MOVE, open(4), encodeMove(4, QUIC_STREAM)), false)],
  ['CREDIT for a stream that is not there', (client) => client.send(0, encodeCredit(400, 1), false)],
  ['RESET for a stream that is not there', (client) => client.send(0, encodeReset(1, 'RESET', ''), false)],
  [
    'a QUIC stream that is reset behind its end',
    (client) => {
      client.send(QUIC_STREAM, new Uint8Array(100), true);
      resetStream(client, QUIC_STREAM);
    },
  ],
  ['a QUIC stream that ends empty', (client) => moved(client, new Uint8Array(0))],
  [
    'many QUIC streams without MOVE',
    (client) => {
      for (let n = 0; n <= 2048; n++) client.send(QUIC_STREAM + 4 * n, Uint8Array.of(1), false);
    },
  ],
];

/** Done while nobody reads. */
const EXCESSES: [string, (client: RawClient) => void][] = [
  [
    'more than was granted, in SMALL frames',
    (client) => client.send(0, both(OPEN, ...Array.from({ length: 20 }, () => small(STREAM, 4000))), false),
  ],
  ['more than was granted, on a QUIC stream', (client) => moved(client, new Uint8Array(80_000))],
  [
    'more than was granted, on a QUIC stream before its MOVE',
    (client) => {
      client.send(QUIC_STREAM, new Uint8Array(80_000), false);
      client.send(0, both(OPEN, MOVE), false);
    },
  ],
];

for (const [name, act] of [...MISDEEDS, ...EXCESSES]) {
  void test(`${name} ends that link, and no other`, async (t) => {
    const { world, good, goodServer } = await worldWithGoodClient();
    const client = await RawClient.greet(world);
    const server = world.links.at(-1)!;
    const isExcess = EXCESSES.some(([other]) => other === name);
    if (isExcess) server.options = { holding: true };
    act(client);
    const close = await client.closed();
    t.equal(close.code, CLOSE.PROTOCOL, close.reason);
    t.equal(server.closes[0]?.code, 'PROTOCOL_VIOLATION');
    t.equal(server.link.streams, 0);
    await stillGood(world, good, goodServer);
    good.link.close(OVER);
    t.ok(await nobodyIsLeft(world));
  });
}

void test('a client that takes no streams ends a link whose server opens one', async (t) => {
  const world = new World();
  await world.listen();
  const client = new LinkRecorder(await world.until(world.connect(connectOptions({ serverOpens: false }))));
  await world.drive(() => world.links.length > 0, 'the link');
  const { connection } = quic(world.links[0]!);
  connection.streams.write(0, open(1), false);
  await world.drive(() => client.closes.length > 0, 'the end');
  t.equal(client.closes[0]!.code, 'PROTOCOL_VIOLATION');
  t.equal(client.accepted.length, 0);
});

void test('what comes for a stream that was reset is ignored', async (t) => {
  const { world, good, goodServer } = await worldWithGoodClient();
  const client = await RawClient.greet(world);
  client.send(0, OPEN, false);
  const { recorder, request } = await world.until(world.links.at(-1)!.accept());
  t.strictSame(request, REQUEST);
  recorder.stream.reset('LIMIT', 'no');
  client.send(0, both(small(STREAM, 10), encodeCredit(STREAM, 2 ** 50), MOVE, encodeReset(STREAM, 'RESET', '')), false);
  client.send(QUIC_STREAM, new Uint8Array(100), false);
  client.send(0, open(4), false);
  await world.until(world.links.at(-1)!.accept());
  t.equal(recorder.received, 0);
  await stillGood(world, good, goodServer);
});

void test('what comes on a QUIC stream before its MOVE waits for it', async (t) => {
  const { world } = await worldWithGoodClient();
  const client = await RawClient.greet(world);
  client.send(QUIC_STREAM, Buffer.from('early'), false);
  await world.clock.advance(10);
  client.send(0, both(OPEN, MOVE), false);
  const { recorder } = await world.until(world.links.at(-1)!.accept());
  await world.drive(() => recorder.text === 'early', 'the bytes');
  client.send(QUIC_STREAM, Uint8Array.of(0), true);
  await world.drive(() => recorder.ended, 'the end');
  t.equal(recorder.text, 'early');
});

void test('what comes on a QUIC stream long after its MOVE arrives, although somebody tried to read it', async (t) => {
  const { world } = await worldWithGoodClient();
  const client = await RawClient.greet(world);
  client.send(0, both(OPEN, MOVE), false);
  const { recorder } = await world.until(world.links.at(-1)!.accept());
  recorder.release();
  await world.clock.advance(10);
  client.send(QUIC_STREAM, Buffer.from('late'), false);
  await world.drive(() => recorder.text === 'late', 'the bytes');
  t.equal(recorder.resets.length, 0);
});

void test('a client that grants little gets no more than it grants', async (t) => {
  const { world } = await worldWithGoodClient();
  const client = await RawClient.greet(world, 3);
  const stream = new StreamRecorder(world.links.at(-1)!.link.open(REQUEST));
  t.equal(stream.stream.write(new Uint8Array(1000)), 3);
  client.send(0, encodeCredit(stream.stream.id, 13), false);
  await world.drive(() => stream.calls > 0, 'room');
  t.equal(stream.stream.write(new Uint8Array(100_000)), 10);
});

void test('unproven clients beyond 256 are not heard until the others have gone', { timeout: 60_000 }, async (t) => {
  const { world, good, goodServer } = await worldWithGoodClient();
  for (let n = 0; n < 300; n++) await RawClient.begin(world);
  await world.clock.advance(10);
  t.equal(world.listener.handshakes, 256);
  const failed = t.rejects(world.connect(), { code: 'LINK_TIMEOUT' });
  await stillGood(world, good, goodServer);
  await world.clock.advance(10_000);
  await failed;
  await world.drive(() => world.failures.length >= 256, 'the others to be gone');
  t.equal(world.listener.handshakes, 0);
  t.equal(world.failures.length, 256);
  const client = new LinkRecorder(await world.until(world.connect()));
  t.equal(client.link.state, 'up');
  client.link.close(OVER);
  good.link.close(OVER);
  t.ok(await nobodyIsLeft(world));
});

void test('a datagram for a connection that nobody knows gets no answer, unless the server made its id', async (t) => {
  const { world } = await worldWithGoodClient();
  const random = seededRandom(1);
  const { down } = world.network;
  // What the greeting left to acknowledge and to report.
  await world.clock.advance(1_000);
  const { sent } = down;
  for (let n = 0; n < 1000; n++) {
    const datagram = randomBytes(random, integerBetween(random, 1, 1400));
    datagram[0] = 0x40 | (datagram[0]! & 0x3f);
    await inject(world, datagram, false);
  }
  await world.clock.advance(100);
  t.equal(down.sent, sent);
});

/** With a secret they end at the server's door, without one they reach quiche. */
const SECRETS = [
  ['with a secret', undefined],
  ['without a secret', null],
] as const;

for (const [name, key] of SECRETS)
  void test(`20,000 broken datagrams disturb nobody and leave nothing behind, ${name}`, { timeout: 120_000 }, async (t) => {
    const { world, good, goodServer } = await worldWithGoodClient(key);
    const initial = await captureInitial(world);
    const random = seededRandom(7);
    const here = new StreamRecorder(good.link.open(REQUEST));
    const { recorder: there } = await world.until(goodServer.accept());
    const bytes = randomBytes(random, 300_000);
    void here.write(bytes).then(() => here.stream.end());
    const mutants = [garbage, truncated, mutated, otherVersionOfQuic];
    for (let n = 0; n < 20_000; n++) {
      await inject(world, mutants[n % mutants.length]!(random, initial), n % 100 === 0);
    }
    await world.drive(() => there.ended, 'the transfer');
    t.ok(Buffer.from(bytes).equals(there.bytes));
    await world.clock.advance(11_000);
    await stillGood(world, good, goodServer);
    good.link.close(OVER);
    t.ok(await nobodyIsLeft(world));
  });

void test('a sender address that quiche cannot read is ignored', async (t) => {
  const { world, good, goodServer } = await worldWithGoodClient(null);
  const initial = await captureInitial(world);
  const server = world.network.server(PORT)!;
  for (const host of ['fe80::1%eth0', '']) {
    t.doesNotThrow(() => server.handler.onDatagram(withFreshId(initial), 0, initial.length, { host, port: 5 }), host);
  }
  await stillGood(world, good, goodServer);
});

type Mutant = (random: () => number, initial: Uint8Array) => Uint8Array;
const garbage: Mutant = (random) => randomBytes(random, integerBetween(random, 1, 1400));
const truncated: Mutant = (random, initial) => withFreshId(initial).subarray(0, integerBetween(random, 1, initial.length));
const mutated: Mutant = (random, initial) => {
  const bytes = withFreshId(initial);
  for (let n = integerBetween(random, 1, 8); n > 0; n--) bytes[integerBetween(random, 0, 60)] = random() * 256;
  return bytes;
};
const otherVersionOfQuic: Mutant = (random, initial) => {
  const bytes = withFreshId(initial);
  bytes.set(randomBytes(random, 4), 1);
  return bytes;
};

/** A client's first datagram. */
async function captureInitial(world: World): Promise<Uint8Array> {
  let captured: Uint8Array | null = null;
  world.network.onSend = (bytes, from) => {
    if (from.isClient && (bytes[0]! & 0xf0) === 0xc0) captured ??= Uint8Array.from(bytes);
  };
  const client = await RawClient.connect(world);
  client.native.close(true, 0, new Uint8Array(0));
  client.flush();
  world.network.onSend = () => {};
  await world.drive(() => world.failures.length > 0, 'that client to be gone');
  world.failures.length = 0;
  return captured!;
}

/** The same with a destination id of its own, which makes it another connection, and one that does not decrypt. */
function withFreshId(initial: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(initial);
  bytes.set(trueRandomBytes(bytes[5]!), 6);
  return bytes;
}

let injector: { world: World; socket: MemorySocket } | null = null;

async function inject(world: World, datagram: Uint8Array, run = true): Promise<void> {
  if (injector?.world !== world) {
    const socket = await world.network.open({ bind: { host: '', port: 0 }, connect: { host: '127.0.0.1', port: PORT } });
    injector = { world, socket: socket as MemorySocket };
  }
  const { socket } = injector;
  socket.sendBuffer.set(datagram);
  socket.send(datagram.length, Math.max(1, datagram.length), { host: '127.0.0.1', port: PORT });
  if (run) await world.clock.advance(1);
}

function otherVersion(hello: Uint8Array): Uint8Array {
  hello[FRAME_HEADER] = 9;
  return hello;
}

function headerOf(type: number, length: number): Uint8Array {
  const header = new Uint8Array(FRAME_HEADER);
  writeFrameHeader(header, 0, type, length);
  return header;
}

function stopControl(client: RawClient): void {
  client.native.streamSend(0, client.hello(), false);
  client.native.streamShutdown(0, 0, 1);
  client.flush();
}

function open(stream: number): Uint8Array {
  return encodeOpen(stream, REQUEST.tag, REQUEST.target);
}

function small(stream: number, length: number): Uint8Array {
  const into = new Uint8Array(SMALL_HEADER + length);
  return into.subarray(0, writeSmall(into, 0, stream, new Uint8Array(length)));
}

function both(...frames: Uint8Array[]): Uint8Array {
  return Buffer.concat(frames);
}

/** A stream that moves at once, and ends with `bytes`. */
function moved(client: RawClient, bytes: Uint8Array): void {
  client.send(0, both(OPEN, MOVE), false);
  client.send(QUIC_STREAM, bytes, true);
}

function resetStream(client: RawClient, id: number): void {
  client.native.streamShutdown(id, 1, 1);
  client.flush();
}
