import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { DEADLINE_MS, withDeadline } from './deadline.ts';
import type { Owner } from './process.ts';

/** Listens until the test ends, on a free port of 127.0.0.1 unless told otherwise; its connections may be half closed. */
export async function listen(t: Owner, onConnection: (socket: Socket) => void, port = 0, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    onConnection(socket);
  });
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen({ host, port, backlog: BACKLOG });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Sends every byte back, and FIN after the last. */
export function echoServer(t: Owner): Promise<number> {
  return listen(t, (socket) => socket.pipe(socket));
}

/** A backend that hands its connections to the test one by one. */
export async function acceptor(t: Owner): Promise<{ port: number; accept: () => Promise<Socket>; accepted: () => number }> {
  const waiting: ((socket: Socket) => void)[] = [];
  const ready: Socket[] = [];
  let count = 0;
  const port = await listen(t, (socket) => {
    count++;
    const taker = waiting.shift();
    if (taker) taker(socket);
    else ready.push(socket);
  });
  const next = () => new Promise<Socket>((resolve) => waiting.push(resolve));
  return {
    port,
    accept: async () => ready.shift() ?? withDeadline(next(), () => 'a connection at the backend'),
    accepted: () => count,
  };
}

/**
 * A port of 127.0.0.1 that nobody uses at this moment, for TCP and UDP alike. It lies below the ports that Linux gives to outgoing connections
 * (ip_local_port_range starts at 32768), so that it can still be listened on after a while; processes that run at once look in different places.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = nextPort;
    nextPort = port + 1 < LAST_PORT ? port + 1 : FIRST_PORT;
    if (port !== BAD_PORT && (await isFree(port))) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const tcp = createServer();
  const udp = createSocket('udp4');
  try {
    await once(tcp.listen(port, '127.0.0.1'), 'listening');
    await once(udp.bind(port, '127.0.0.1'), 'listening');
    return true;
  } catch {
    return false;
  } finally {
    await Promise.all([closed(tcp), closed(udp)]);
  }
}

/** Closing what never came to listen is an error, which is as good as closed. */
async function closed(it: { close: (done: () => void) => unknown }): Promise<void> {
  await new Promise<void>((resolve) => {
    try {
      it.close(resolve);
    } catch {
      resolve();
    }
  });
}

/** A connection that is there until the test ends. */
export async function dial(t: Owner, port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host, allowHalfOpen: true, noDelay: true });
  t.teardown(() => socket.destroy());
  await withDeadline(once(socket, 'connect'), () => `a connection to port ${port}`);
  socket.on('error', () => {});
  return socket;
}

/** The next `length` bytes; rejects when the connection ends before them. */
export async function receive(socket: Duplex, length: number): Promise<Buffer> {
  const arrived = new Promise<Buffer>((resolve, reject) => {
    const attempt = () => {
      const bytes = socket.read(length) as Buffer | null;
      if (bytes === null) return;
      stop();
      if (bytes.length === length) resolve(bytes);
      else reject(new Error(`The connection ended after ${bytes.length} of ${length} bytes`));
    };
    const ended = () => {
      stop();
      reject(new Error(`The connection ended: ${socket.errored?.message ?? 'FIN'}`));
    };
    const stop = () => socket.off('readable', attempt).off('end', ended).off('close', ended);
    if (socket.readableEnded || socket.destroyed) return ended();
    socket.on('readable', attempt).on('end', ended).on('close', ended);
    attempt();
  });
  return withDeadline(arrived, () => `${length} bytes`);
}

/** Sends a message and checks that the same comes back. */
export async function echoes(socket: Duplex, message: string | Buffer): Promise<boolean> {
  const bytes = Buffer.from(message as string);
  socket.write(bytes);
  return (await receive(socket, bytes.length)).equals(bytes);
}

/** Everything until FIN; rejects when the connection is reset. */
export async function receiveAll(socket: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const ended = new Promise<void>((resolve, reject) => {
    socket.on('end', resolve);
    socket.on('close', () => reject(new Error(`The connection ended: ${socket.errored?.message ?? 'closed'}`)));
  });
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await withDeadline(ended, () => 'the end of the connection');
  return Buffer.concat(chunks);
}

/**
 * How the peer ended the connection; what comes before that is read and dropped.
 *
 * A reset that arrives together with data can reach Node as a clean end: libuv reports EOF when poll says "hung up" after a partial
 * read. The error is still there for the next write, so an end is believed when an empty write after it succeeds.
 */
export async function ending(socket: Duplex): Promise<'fin' | 'reset'> {
  const ended = new Promise<'fin' | 'reset'>((resolve) => {
    const atEnd = () => {
      if (!socket.writable) return resolve('fin');
      socket.write(Buffer.alloc(0), (error) => resolve(error ? 'reset' : 'fin'));
    };
    if (socket.errored) resolve('reset');
    else if (socket.readableEnded) atEnd();
    socket.once('end', atEnd);
    socket.once('error', () => resolve('reset'));
  });
  socket.resume();
  return withDeadline(ended, () => 'the end of the connection');
}

export interface Sum {
  readonly bytes: number;
  readonly sha256: string;
}

/** Sends so many bytes, no two blocks of them alike, then FIN; returns what the receiver must have got. */
export async function sendSummed(socket: Duplex, bytes: number, deadline = DEADLINE_MS): Promise<Sum> {
  const sha256 = await sendHashed(socket, bytes, deadline);
  socket.end();
  return { bytes, sha256 };
}

/** Sends so many bytes, no two blocks of them alike, each of which has to go within the deadline; returns their SHA-256 in hexadecimal digits. */
export async function sendHashed(socket: Duplex, bytes: number, deadline = DEADLINE_MS): Promise<string> {
  const hash = createHash('sha256');
  const block = randomBytes(Math.max(6, Math.min(BLOCK, bytes)));
  for (let sent = 0; sent < bytes; sent += BLOCK) {
    block.writeUIntBE(sent, 0, 6);
    const chunk = Buffer.from(block.subarray(0, Math.min(BLOCK, bytes - sent)));
    hash.update(chunk);
    if (!socket.write(chunk)) await withDeadline(drained(socket), () => `room for more than ${sent} bytes`, deadline);
  }
  return hash.digest('hex');
}

/** Rejects when the connection ends before there is room. */
function drained(socket: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    const atDrain = () => {
      socket.off('close', atClose);
      resolve();
    };
    const atClose = () => reject(new Error(`The connection ended: ${socket.errored?.message ?? 'closed'}`));
    if (socket.destroyed) return atClose();
    socket.once('drain', atDrain).once('close', atClose);
  });
}

/** Receives until FIN. */
export async function receiveSummed(socket: Duplex): Promise<Sum> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

const BLOCK = 1024 * 1024;
const BACKLOG = 4096;

const FIRST_PORT = 10_000;
/** The only one from there on that `fetch` and browsers ask nothing of (Fetch Standard, "bad port"). */
const BAD_PORT = 10_080;
const LAST_PORT = 30_000;
let nextPort = FIRST_PORT + ((process.pid * 61) % (LAST_PORT - FIRST_PORT));
