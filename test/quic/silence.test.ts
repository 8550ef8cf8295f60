import { randomBytes } from 'node:crypto';
import { type Connection, quiche } from '@matrixai/quic/native/index.js';
import { test } from 'tap';
import type { Test } from 'tap';
import { hmacSha256 } from '../../src/identity/secret.ts';
import { CLOCK_WINDOW, InitialProof, PROOF_NONCE } from '../../src/protocol/initial-proof.ts';
import { Admission } from '../../src/quic/admission.ts';
import { clientConfig } from '../../src/quic/config.ts';
import type { QuicConnection } from '../../src/quic/connection.ts';
import { LIMITS } from '../link/limits.ts';
import { LinkRecorder, StreamRecorder } from '../link/recorder.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { MemorySocket } from '../support/memory-network.ts';
import { integerBetween, randomBytes as seededBytes, seededRandom } from '../support/random.ts';
import { connectOptions, OVER, PORT, quicOptions, REQUEST, SECRET, World } from './pair.ts';

void test('a wrong secret and none hear nothing, and the client says what may be the matter', async (t) => {
  const world = await listening();
  for (const [key, message] of [
    [new Uint8Array(32).fill(8), /secret differs, or the clocks .* 5 minutes/],
    [null, /wants a secret/],
  ] as const) {
    const refused = t.rejects(world.connect(connectOptions({ key })), { code: 'LINK_TIMEOUT', message });
    await world.clock.advance(10_000);
    await refused;
  }
  t.equal(world.network.up.delivered, 2);
  t.equal(world.network.down.sent, 0);
  t.match(world.failures[0]?.error, { code: 'AUTH_REJECTED', message: /does not show the secret/ });
  await serves(t, world);
});

void test('an attempt that quiche gives up first says the same', async (t) => {
  const world = await listening();
  const options = connectOptions({ key: null, idleTimeout: 100 });
  await t.rejects(world.until(world.connect(options)), { code: 'LINK_TIMEOUT', message: /wants a secret/ });
});

void test('a secret that was changed counts for the next connection', async (t) => {
  const world = await listening();
  const key = new Uint8Array(32).fill(8);
  world.listener.prepare(quicOptions({ key }), world.keys)();
  const link = await world.until(world.connect(connectOptions({ key })));
  link.close(OVER);
  const { sent } = world.network.down;
  await inject(world, firstDatagram(proofAt(world.clock.date())));
  t.equal(world.network.down.sent, sent);
});

void test('clocks may be five minutes apart and not more', async (t) => {
  const world = await listening();
  for (const [apart, answers] of [
    [-CLOCK_WINDOW - 1, false],
    [-CLOCK_WINDOW, true],
    [CLOCK_WINDOW, true],
    [CLOCK_WINDOW + 1, false],
  ] as const) {
    const { sent } = world.network.down;
    await inject(world, firstDatagram(proofAt(world.clock.date() + apart)));
    t.equal(world.network.down.sent > sent, answers, `${apart} s`);
  }
  t.match(
    world.failures.map(({ error }) => error.message),
    [/301 s behind/, /301 s ahead/],
  );
});

void test('a proof opens one connection: copied to another, or played again later, it is worth nothing', async (t) => {
  const world = await listening();
  const proof = proofAt(world.clock.date());
  const original = firstDatagram(proof);
  await inject(world, original);
  const answered = world.network.down.sent;
  t.ok(answered > 0);

  for (let n = 0; n < 5; n++) await inject(world, firstDatagram(proof));
  await inject(world, withDestination(original, randomBytes(16)));
  t.equal(world.network.down.sent, answered, 'with other destination ids');

  await world.clock.advance(11_000);
  t.equal(world.failures.at(-1)?.error.code, 'LINK_TIMEOUT');
  const { sent } = world.network.down;
  await inject(world, original);
  t.equal(world.network.down.sent, sent, 'when its connection is gone');
});

void test('a first packet that comes twice belongs to its connection', async (t) => {
  const world = new World(3, { duplicate: 1 });
  await world.listen();
  const link = await world.until(world.connect());
  t.equal(link.state, 'up');
  t.equal(world.failures.length, 0);
  link.close(OVER);
});

void test('behind a good Initial in the same datagram nothing else may stand', async (t) => {
  const world = await listening();
  const good = firstDatagram(proofAt(world.clock.date()));
  const other = packetOf(withDestination(firstDatagram(randomBytes(16)), good.subarray(6, 22)));
  const smuggled = Uint8Array.from([...packetOf(good), ...other, ...new Uint8Array(800)]);
  await inject(world, smuggled);
  t.equal(world.network.down.sent, 0);
  await inject(world, good);
  t.ok(world.network.down.sent > 0, 'it was not used up');
});

void test('of a handshake’s packets only those with the client’s own id reach quiche, and only so many bytes', async (t) => {
  const clock = new FakeClock();
  const admission = new Admission(clock, clock.date, quicOptions());
  const connection = { peer: HERE, established: false } as QuicConnection;
  const passes = (datagram: Uint8Array): boolean => admission.passes(connection, datagram, 0, datagram.length);
  const original = firstDatagram(proofAt(clock.date()));
  const candidate = admission.judge(original, 0, original.length, HERE);
  admission.begin(connection, candidate!);
  const forged = Uint8Array.from(original);
  forged.set(randomBytes(16), SOURCE_AT);
  t.notOk(passes(forged));
  let bytes = 0;
  while (passes(original)) bytes += original.length;
  t.ok(bytes > 20_000 && bytes <= 32_768, `${bytes} bytes`);
  t.notOk(passes(original));
  admission.end(connection, true);
  t.ok(passes(original), 'what has proven itself is not its concern');
});

void test('small datagrams are counted as well', async (t) => {
  const clock = new FakeClock();
  const admission = new Admission(clock, clock.date, quicOptions());
  const refusals: string[] = [];
  admission.onRefusal = (refusal) => refusals.push(refusal);
  const connection = { peer: HERE, established: false } as QuicConnection;
  const original = firstDatagram(proofAt(clock.date()));
  admission.begin(connection, admission.judge(original, 0, original.length, HERE)!);
  let taken = 0;
  while (taken < 1000 && admission.passes(connection, Uint8Array.of(0x40, 0), 0, 2)) taken++;
  t.equal(taken, 32);
  t.same(refusals, ['datagrams']);
});

void test('of one source only so many handshakes are open at once', async (t) => {
  const world = new World();
  const limits = { ...LIMITS, maxHandshakesPerSource: 3 };
  const refusals: string[] = [];
  await world.listen(quicOptions({ strangers: limits }));
  world.listener.onRefusal = (refusal) => refusals.push(refusal);
  for (let n = 0; n < 5; n++) await inject(world, firstDatagram(proofAt(world.clock.date())));
  t.same(refusals, ['source', 'source']);
  await world.clock.advance(11_000);
  t.equal(world.failures.length, 3);
  await serves(t, world);
  for (let n = 0; n < 5; n++) await inject(world, firstDatagram(proofAt(world.clock.date())));
  t.equal(refusals.length, 2, 'a client has come from there');
});

void test('with Retry a client connects as well, also over a path that loses and duplicates', { timeout: 120_000 }, async (t) => {
  for (const [seed, conditions] of [{}, { loss: 0.2, duplicate: 0.2, delay: 10 }, { duplicate: 1 }].entries()) {
    const world = new World(seed, conditions);
    const refusals: string[] = [];
    await world.listen(quicOptions({ strangers: { ...LIMITS, retryAbove: 0 } }));
    world.listener.onRefusal = (refusal) => refusals.push(refusal);
    const client = new LinkRecorder(await world.until(world.connect()));
    await world.drive(() => world.links.length > 0, 'the server’s link');
    t.ok(refusals.includes('retry'));
    const here = new StreamRecorder(client.link.open(REQUEST));
    here.stream.write(Buffer.from('hello'));
    const { recorder: there } = await world.until(world.links[0]!.accept());
    await world.drive(() => there.text === 'hello', 'the bytes');
    client.link.close(OVER);
  }
});

void test('made-up addresses do not keep clients out of a server without a secret', async (t) => {
  const world = new World(1, {}, null);
  await world.listen(quicOptions({ key: null, strangers: { ...LIMITS, maxHandshakes: 20, retryAbove: 5 } }));
  const answers: Uint8Array[] = [];
  for (let n = 0; n < 40; n++) {
    const socket = await stranger(world);
    socket.handler = {
      onDatagram: (bytes, offset, length) => void answers.push(bytes.slice(offset, offset + length)),
      onError() {},
    };
    send(socket, firstDatagram(randomBytes(16)));
    await world.clock.advance(2);
  }
  const retries = answers.filter((answer) => (answer[0]! & 0xf0) === 0xf0);
  t.equal(retries.length, 35);
  t.ok(
    retries.every(({ length }) => length < 150),
    'none is worth amplifying',
  );
  await serves(t, world);
});

void test('a token is worth nothing from another address, or made up', async (t) => {
  const clock = new FakeClock();
  const admission = new Admission(clock, clock.date, quicOptions({ key: null, strangers: { ...LIMITS, retryAbove: 0 } }));
  const client: Connection = newClient(randomBytes(16));
  const first = sendOne(client);
  let asked = 0;
  admission.onRetry = (header) => {
    asked++;
    const packet = new Uint8Array(200);
    const newId = randomBytes(16);
    const token = admission.retryToken(header, newId, HERE);
    const length = quiche.retry(header.source, header.destination, newId, token, 1, packet);
    client.recv(packet.subarray(0, length), { from: HERE, to: HERE });
  };
  t.equal(admission.judge(first, 0, first.length, HERE), null);
  t.equal(asked, 1);
  const second = sendOne(client);
  t.equal(admission.judge(second, 0, second.length, { host: '127.0.0.1', port: 2 }), null);
  t.equal(asked, 1, 'nor is he asked again');
  const candidate = admission.judge(second, 0, second.length, HERE);
  t.same(candidate?.original, first.subarray(6, 22));
  await clock.advance(11_000);
  t.equal(admission.judge(second, 0, second.length, HERE), null, 'nor later');
});

void test('a handshake at 30 % loss stays within the limits', { timeout: 120_000 }, async (t) => {
  const refusals: string[] = [];
  for (let seed = 1; seed <= 5; seed++) {
    const world = new World(seed, { loss: 0.3, delay: 10 });
    await world.listen();
    world.listener.onRefusal = (refusal) => refusals.push(refusal);
    const link = await world.connectInSpiteOfLoss();
    t.equal(link.state, 'up', `seed ${seed}`);
    link.close(OVER);
  }
  t.same(refusals, []);
});

void test('10,000 spoofed Initials and 10,000 random datagrams while a client transfers', { timeout: 120_000 }, async (t) => {
  const world = await listening();
  const client = new LinkRecorder(await world.until(world.connect()));
  const server = world.links[0]!;
  const here = new StreamRecorder(client.link.open(REQUEST));
  const { recorder: there } = await world.until(server.accept());
  const random = seededRandom(5);
  const bytes = seededBytes(random, 400_000);
  void here.write(bytes).then(() => here.stream.end());
  const template = firstDatagram(randomBytes(16));
  const flood = await stranger(world);
  let answers = 0;
  flood.handler = { onDatagram: () => void answers++, onError() {} };
  for (let n = 0; n < 10_000; n++) {
    const spoofed = withDestination(template, seededBytes(random, 16));
    spoofed.set(seededBytes(random, 16), SOURCE_AT);
    send(flood, spoofed);
    send(flood, seededBytes(random, integerBetween(random, 1, 40)));
    if (n % 100 === 0) await world.clock.advance(1);
  }
  await world.drive(() => there.ended, 'the transfer');
  t.ok(Buffer.from(bytes).equals(there.bytes));
  t.equal(answers, 0);
  t.ok(world.failures.length <= 10 * (world.clock.now() / 1000), 'the log hears of some');
  t.equal(client.closes.length, 0);
  client.link.close(OVER);
});

async function listening(): Promise<World> {
  const world = new World();
  await world.listen();
  return world;
}

async function serves(t: Test, world: World): Promise<void> {
  const link = await world.until(world.connect());
  t.equal(link.state, 'up', 'the server serves on');
  link.close(OVER);
}

const proofAt = (date: number): Uint8Array => new InitialProof(hmacSha256, SECRET).make(randomBytes(PROOF_NONCE), date);

/** What quiche sends first, with `source` as the client's own id: 1,200 bytes that decrypt. */
function firstDatagram(source: Uint8Array): Uint8Array {
  return sendOne(newClient(source));
}

function newClient(source: Uint8Array): Connection {
  const config = clientConfig({ congestion: 'cubic', blocks: 'off', idleTimeout: 30_000 });
  return quiche.Connection.connect('localhost', source, HERE, HERE, config);
}

function sendOne(native: Connection): Uint8Array {
  const datagram = new Uint8Array(1350);
  const [length] = native.send(datagram)!;
  return datagram.subarray(0, length);
}

/** The Initial without what fills the datagram up. */
function packetOf(datagram: Uint8Array): Uint8Array {
  const at = SOURCE_AT + 16 + 1;
  const length = ((datagram[at]! & 0x3f) << 8) | datagram[at + 1]!;
  return datagram.subarray(0, at + 2 + length);
}

function withDestination(datagram: Uint8Array, id: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(datagram);
  copy.set(id, 6);
  return copy;
}

async function stranger(world: World): Promise<MemorySocket> {
  return (await world.network.open({ bind: { host: '', port: 0 }, connect: { host: '127.0.0.1', port: PORT } })) as MemorySocket;
}

function send(socket: MemorySocket, datagram: Uint8Array): void {
  socket.sendBuffer.set(datagram);
  socket.send(datagram.length, datagram.length, { host: '127.0.0.1', port: PORT });
}

/** Has a stranger send the datagram, and the server do what it has to do about it. */
async function inject(world: World, datagram: Uint8Array): Promise<void> {
  send(await stranger(world), datagram);
  await world.clock.advance(5);
}

const HERE = { host: '127.0.0.1', port: 1 };
/** Behind the first byte, the version, and a destination id of 16 bytes. */
const SOURCE_AT = 6 + 16 + 1;
