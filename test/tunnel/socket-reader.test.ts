import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { type Test, test } from 'tap';
import { adoptSocket, connectSocket, readerOf } from '../../src/tunnel/socket-reader.ts';
import { WAITING } from '../../src/tunnel/waiting.ts';
import { eventually, withDeadline } from '../support/deadline.ts';
import { dial, ending, receive, receiveAll, sendSummed, type Sum } from '../support/tcp.ts';

interface Acceptor {
  readonly server: net.Server;
  readonly port: number;
  /** The client's end of a new connection, and the server's, which was adopted. */
  connect(prepare?: (accepted: net.Socket) => void): Promise<{ client: net.Socket; adopted: net.Socket }>;
}

async function listen(t: Test): Promise<Acceptor> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  return {
    server,
    port,
    async connect(prepare = () => {}) {
      const came = new Promise<{ adopted: net.Socket }>((resolve) => {
        // At once, as the tunnel does: a moment later Node may have read.
        server.once('connection', (adopted) => {
          prepare(adopted);
          adoptSocket(adopted);
          adopted.on('error', () => {});
          t.teardown(() => adopted.destroy());
          resolve({ adopted });
        });
      });
      const client = await dial(t, port);
      return { client, ...(await withDeadline(came, () => 'the connection at the server')) };
    },
  };
}

/** Everything that the reader hands over until the end; `each` is called after each chunk. */
function readAll(socket: net.Socket, each: (chunk: Uint8Array) => void = () => {}): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const ended = once(socket, 'end');
  readerOf(socket)!.start(socket, (chunk) => {
    chunks.push(Buffer.from(chunk));
    each(chunk);
  });
  return withDeadline(ended, () => 'the end').then(() => Buffer.concat(chunks));
}

function sumOf(bytes: Buffer): Sum {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

test('an accepted socket reads through a reader of its own, and writes', async (t) => {
  const { connect } = await listen(t);
  const { client, adopted } = await connect();
  t.equal(adopted.remotePort, client.localPort);
  const all = readAll(adopted);
  adopted.write('hello');
  t.equal((await receive(client, 5)).toString(), 'hello');
  client.end('there');
  t.equal((await all).toString(), 'there');
});

test('each direction ends by itself', async (t) => {
  const { connect } = await listen(t);
  for (const first of ['client', 'server']) {
    const { client, adopted } = await connect();
    const all = readAll(adopted);
    if (first === 'client') {
      client.end('request');
      t.equal((await all).toString(), 'request');
      adopted.write('late ');
      adopted.end('answer');
      t.equal((await receiveAll(client)).toString(), 'late answer');
    } else {
      adopted.end('greeting');
      t.equal((await receiveAll(client)).toString(), 'greeting');
      client.end('late');
      t.equal((await all).toString(), 'late');
    }
    await eventually('the close', () => adopted.closed);
    t.equal(adopted.errored, null);
  }
});

test('a reset arrives as one, and is sent as one', async (t) => {
  const { connect } = await listen(t);
  const one = await connect();
  readerOf(one.adopted)!.start(one.adopted, () => {});
  one.client.resetAndDestroy();
  const [error] = (await withDeadline(once(one.adopted, 'error'), () => 'the reset')) as [NodeJS.ErrnoException];
  t.equal(error.code, 'ECONNRESET');
  const other = await connect();
  readerOf(other.adopted)!.start(other.adopted, () => {});
  other.adopted.resetAndDestroy();
  t.equal(await ending(other.client), 'reset');
});

test('sockets that share the buffer and pause again and again lose no byte', async (t) => {
  const { connect } = await listen(t);
  const pairs = [await connect(), await connect(), await connect(), await connect()];
  let whilePaused = 0;
  const received = pairs.map(({ adopted }, i) => {
    let chunks = 0;
    return readAll(adopted, () => {
      if (adopted.isPaused()) whilePaused++;
      if (++chunks % (i + 1) !== 0) return;
      adopted.pause();
      setImmediate(() => setImmediate(() => adopted.resume()));
    });
  });
  const sent = await Promise.all(pairs.map(({ client }) => sendSummed(client, 10_000_000)));
  t.same((await Promise.all(received)).map(sumOf), sent);
  t.equal(whilePaused, 0, 'nothing is read while paused');
});

test('reads are small at first, and stay so while much waits', async (t) => {
  const { connect } = await listen(t);
  for (const bytes of [0, 10_000_000]) {
    const { client, adopted } = await connect();
    const sizes: number[] = [];
    const waits = WAITING.keep(new Uint8Array(bytes));
    t.teardown(() => WAITING.release(waits));
    const all = readAll(adopted, (chunk) => sizes.push(chunk.length));
    await sendSummed(client, 5_000_000);
    await all;
    t.ok(sizes[0]! <= 16_384);
    t.equal(Math.max(...sizes) > 16_384, bytes === 0, `${bytes} bytes wait`);
  }
});

test('a paused socket leaves what comes to the kernel', async (t) => {
  const { connect } = await listen(t);
  const { client, adopted } = await connect();
  const all = readAll(adopted, () => adopted.bytesRead === 1 && adopted.pause());
  client.write('x');
  await eventually('the first chunk', () => adopted.isPaused());
  const { bytesRead } = adopted;
  const sending = sendSummed(client, 20_000_000);
  await eventually('a full kernel', () => client.writableNeedDrain);
  t.equal(adopted.bytesRead, bytesRead);
  adopted.resume();
  const { bytes } = await sending;
  t.equal((await all).length, bytes + 1);
});

test('what comes before anybody reads is kept, and no more than one buffer full of it', async (t) => {
  const { connect } = await listen(t);
  for (const length of [1, 65_536, 3_000_000]) {
    const { client, adopted } = await connect();
    const bytes = randomBytes(length);
    client.end(bytes);
    await eventually('the first bytes', () => adopted.bytesRead > 0);
    for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
    t.ok(adopted.bytesRead <= 65_536, `${adopted.bytesRead} bytes read`);
    t.ok((await readAll(adopted)).equals(bytes), `${length} bytes`);
  }
});

test('a sink that pauses at what came before', async (t) => {
  const { connect } = await listen(t);
  const { client, adopted } = await connect();
  client.write('early');
  await eventually('the first bytes', () => adopted.bytesRead === 5);
  const all = readAll(adopted, () => adopted.pause());
  t.ok(adopted.isPaused());
  client.end(' late');
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(adopted.bytesRead, 5);
  adopted.resume();
  await eventually('the rest', () => adopted.bytesRead === 10);
  adopted.resume();
  t.equal((await all).toString(), 'early late');
});

test('the server counts and awaits adopted connections as its own', async (t) => {
  const { server, connect } = await listen(t);
  const count = (): Promise<number> =>
    new Promise((resolve, reject) => {
      server.getConnections((error, connections) => (error ? reject(error) : resolve(connections)));
    });
  const pairs = [await connect(), await connect()];
  t.equal(await count(), 2);
  pairs[0]!.adopted.destroy();
  await eventually('one left', async () => (await count()) === 1);
  let closed = false;
  const closing = once(server, 'close').then(() => (closed = true));
  server.close();
  pairs[1]!.adopted.write('still here');
  t.equal((await receive(pairs[1]!.client, 10)).toString(), 'still here');
  t.notOk(closed);
  pairs[1]!.adopted.destroy();
  await withDeadline(closing, () => 'the end of the server');
});

test('where Node’s inside is another, the socket stays as it is', async (t) => {
  const { connect } = await listen(t);
  const { client, adopted } = await connect((socket) => {
    Object.assign((socket as unknown as { _handle: object })._handle, { useUserBuffer: undefined });
  });
  t.equal(readerOf(adopted), undefined);
  client.end('plain');
  t.equal((await receiveAll(adopted)).toString(), 'plain');
  const destroyed = new net.Socket().destroy();
  adoptSocket(destroyed);
  t.equal(readerOf(destroyed), undefined);
});

test('a socket that connects has such a reader from the beginning', async (t) => {
  const { server, port } = await listen(t);
  const greeting = randomBytes(200_000);
  server.once('connection', (socket) => socket.end(greeting));
  const socket = connectSocket({ host: '127.0.0.1', port, allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  await eventually('the first bytes', () => socket.bytesRead > 0);
  t.ok((await readAll(socket)).equals(greeting));
});
