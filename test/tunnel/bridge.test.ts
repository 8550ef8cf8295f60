import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { type Test, test } from 'tap';
import type { ResetReason } from '../../src/protocol/reset.ts';
import { Bridge } from '../../src/tunnel/bridge.ts';
import { adoptSocket } from '../../src/tunnel/socket-reader.ts';
import { LinkRecorder, type StreamRecorder } from '../link/recorder.ts';
import { eventually } from '../support/deadline.ts';
import { dial, ending, listen, receive, receiveAll } from '../support/tcp.ts';
import { makePair } from '../tls/pair.ts';

const REQUEST = { tag: '0123456789abcdef', target: '' };
const MIB = 1024 * 1024;

interface Bridged {
  /** The application's end of the TCP connection. */
  readonly application: net.Socket;
  /** The tunnel's end of it. */
  readonly socket: net.Socket;
  /** The far end of the stream. */
  readonly far: StreamRecorder;
  readonly bridge: Bridge;
  readonly sum: { sent: number; received: number };
  readonly ends: { reason: ResetReason | null; message: string }[];
}

/** Application ── TCP ── bridge ── a stream over TLS ── `far`. */
async function bridged(t: Test, { holding = false, adopted = true } = {}): Promise<Bridged> {
  const pair = await makePair({ buffer: 256 * 1024 });
  t.teardown(() => pair.close());
  const server = new LinkRecorder(pair.server);
  server.options = { holding };
  let accepted!: (socket: net.Socket) => void;
  const socketHere = new Promise<net.Socket>((resolve) => (accepted = resolve));
  const port = await listen(t, (socket) => {
    if (adopted) adoptSocket(socket);
    accepted(socket);
  });
  const application = await dial(t, port);
  const socket = await socketHere;
  t.teardown(() => socket.destroy());
  const sum = { sent: 0, received: 0 };
  const ends: Bridged['ends'] = [];
  const bridge = new Bridge(socket, pair.client.open(REQUEST), {
    onSent: (bytes) => void (sum.sent += bytes),
    onReceived: (bytes) => void (sum.received += bytes),
    onEnd: (reason, message) => void ends.push({ reason, message }),
  });
  const { recorder: far } = await server.accept();
  return { application, socket, far, bridge, sum, ends };
}

const ended = ({ ends, socket }: Bridged): Promise<boolean> =>
  eventually('the bridge’s end', () => ends.length > 0 && socket.destroyed);

for (const adopted of [true, false]) {
  const how = adopted ? 'a reader of our own' : 'Node’s reader';
  void test(`${how}: bytes both ways, then the application ends first`, async (t) => {
    const it = await bridged(t, { adopted });
    const up = randomBytes(3 * MIB);
    const down = randomBytes(2 * MIB);
    it.application.end(up);
    await it.far.end();
    t.ok(it.far.bytes.equals(up));
    t.equal(it.ends.length, 0, 'the other direction goes on');
    const got = receiveAll(it.application);
    await it.far.write(down);
    it.far.stream.end();
    t.ok((await got).equals(down));
    await ended(it);
    t.strictSame(it.ends, [{ reason: null, message: '' }]);
    t.strictSame(it.sum, { sent: up.length, received: down.length });
  });

  void test(`${how}: the far end ends first`, async (t) => {
    const it = await bridged(t, { adopted });
    it.far.stream.write(Buffer.from('bye'));
    it.far.stream.end();
    t.equal((await receiveAll(it.application)).toString(), 'bye');
    t.equal(it.ends.length, 0);
    const up = randomBytes(2 * MIB);
    it.application.end(up);
    await it.far.end();
    t.ok(it.far.bytes.equals(up));
    await ended(it);
    t.strictSame(it.ends, [{ reason: null, message: '' }]);
  });

  void test(`${how}: a chunk that the stream did not take goes before the end`, async (t) => {
    const it = await bridged(t, { adopted, holding: true });
    const up = randomBytes(16 * MIB);
    it.application.end(up);
    await eventually('the stream to be full', () => it.sum.sent > 0 && it.socket.isPaused());
    it.far.release();
    await it.far.end();
    t.ok(it.far.bytes.equals(up));
    it.far.stream.end();
    await ended(it);
    t.equal(it.ends[0]!.reason, null);
  });

  void test(`${how}: the application resets, once while nothing flows and once while the stream is full`, async (t) => {
    for (const full of [false, true]) {
      const it = await bridged(t, { adopted, holding: full });
      it.application.write(full ? randomBytes(8 * MIB) : 'x');
      await eventually('bytes to be on their way', () => it.sum.sent > 0);
      it.application.resetAndDestroy();
      it.far.release();
      t.equal((await it.far.reset()).reason, 'RESET');
      t.notOk(it.far.ended, 'a reset is no end');
      await ended(it);
      t.equal(it.ends[0]!.reason, 'RESET');
    }
  });
}

void test('a reset of the stream resets the application’s connection, after an end as well', async (t) => {
  for (const endFirst of [false, true]) {
    const it = await bridged(t);
    if (endFirst) {
      it.far.stream.end();
      t.equal(await ending(it.application), 'fin');
      it.application.write('more');
      await eventually('it to arrive', () => it.far.received === 4);
    }
    it.far.stream.reset('DIAL_REFUSED', 'nobody there');
    await ended(it);
    // After an end Node does not read any more, but a write finds the connection gone.
    t.equal(await ending(it.application), 'reset');
    t.strictSame(it.ends, [{ reason: 'DIAL_REFUSED', message: 'nobody there' }]);
  }
});

void test('an application that does not read holds the far end back; what waits here is bounded, and nothing is lost', async (t) => {
  const it = await bridged(t);
  const down = randomBytes(64 * MIB);
  let writing = true;
  const written = it.far.write(down).then(() => (writing = false));
  let most = 0;
  let before = -1;
  await eventually('nothing to move any more', async () => {
    const now = it.sum.received;
    const still = now > 0 && now === before;
    before = now;
    most = Math.max(most, it.socket.writableLength);
    await new Promise((resolve) => setImmediate(resolve));
    return still && it.socket.writableNeedDrain;
  });
  t.ok(writing, 'the far end waits');
  t.ok(most <= 512 * 1024, `${most} bytes waited for the kernel`);
  const got = receiveAll(it.application);
  await written;
  it.far.stream.end();
  t.ok((await got).equals(down));
});

void test('abort cuts both sides off, once', async (t) => {
  const it = await bridged(t);
  it.bridge.abort('SHUTDOWN', 'enough');
  it.bridge.abort('LIMIT', 'again');
  t.strictSame(await it.far.reset(), { reason: 'SHUTDOWN', message: 'enough' });
  t.equal(await ending(it.application), 'reset');
  await ended(it);
  t.strictSame(it.ends, [{ reason: 'SHUTDOWN', message: 'enough' }]);
});

void test('what came before the bridge was there is carried: bytes, and an end', async (t) => {
  for (const said of ['', 'first words']) {
    const pair = await makePair();
    t.teardown(() => pair.close());
    const server = new LinkRecorder(pair.server);
    const sockets: net.Socket[] = [];
    const port = await listen(t, (socket) => {
      adoptSocket(socket);
      sockets.push(socket);
    });
    const application = await dial(t, port);
    application.end(said);
    const socket: net.Socket = (await eventually<net.Socket | undefined>('the connection', () => sockets[0]))!;
    t.teardown(() => socket.destroy());
    if (said === '') await eventually('the end to be seen', () => socket.readableEnded);
    const ends: (ResetReason | null)[] = [];
    new Bridge(socket, pair.client.open(REQUEST), { onSent() {}, onReceived() {}, onEnd: (reason) => void ends.push(reason) });
    const { recorder: far } = await server.accept();
    await far.end();
    t.equal(far.text, said);
    far.stream.write(Buffer.from('answer'));
    far.stream.end();
    t.equal((await receive(application, 6)).toString(), 'answer');
    await eventually('the end', () => ends.length > 0);
    t.strictSame(ends, [null]);
  }
});

void test('an application that is held back and resets is noticed although nobody reads from it', async (t) => {
  const it = await bridged(t, { holding: true });
  it.application.on('error', () => {});
  it.application.write(randomBytes(16 * MIB));
  await eventually('the application is held back', () => it.socket.isPaused());
  it.application.resetAndDestroy();
  await ended(it);
  t.equal(it.ends[0]?.reason, 'RESET');
});
