import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, connect, type Socket } from 'node:net';
import type { Owner } from '../../support/process.ts';

/** A service for `Visitors`: answers each request, which begins with a number (32 bits, big-endian), with so many bytes. */
export async function answerWithBytes(t: Owner, host: string, port: number): Promise<void> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('readable', () => {
      for (let asked = socket.read(REQUEST) as Buffer | null; asked !== null; asked = socket.read(REQUEST) as Buffer | null)
        socket.write(Buffer.alloc(asked.readUInt32BE(0)));
    });
  }).listen(port, host);
  t.teardown(() => server.close());
  await once(server, 'listening');
}

/** The same over UDP: each datagram comes back. */
export async function echoDatagrams(t: Owner, host: string, port: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (datagram, { address, port: from }) => socket.send(datagram, from, address));
  t.teardown(() => socket.close());
  socket.bind(port, host);
  await once(socket, 'listening');
}

/** Those who use a public port: connections that stay, and fetch. */
export class Visitors {
  readonly #port: number;
  readonly #sockets: Socket[] = [];

  constructor(t: Owner, port: number) {
    this.#port = port;
    t.teardown(() => this.#sockets.forEach((socket) => socket.destroy()));
  }

  /** That many are there from now on. */
  async be(count: number): Promise<void> {
    while (this.#sockets.length > count) this.#sockets.pop()!.end();
    while (this.#sockets.length < count) {
      const socket = connect({ host: '127.0.0.1', port: this.#port, noDelay: true });
      socket.on('error', () => {});
      await once(socket, 'connect');
      this.#sockets.push(socket);
    }
  }

  /** Fetches so many bytes, each visitor a part. Resolves when all have come. */
  async fetch(bytes: number): Promise<void> {
    const part = Math.ceil(bytes / this.#sockets.length);
    await Promise.all(this.#sockets.map((socket) => fetchOver(socket, part)));
  }
}

function fetchOver(socket: Socket, bytes: number): Promise<void> {
  const asked = Buffer.alloc(REQUEST);
  asked.writeUInt32BE(bytes);
  socket.write(asked);
  return new Promise((resolve, reject) => {
    let left = bytes;
    const close = (): void => reject(new Error(`A connection ended ${left} bytes too early`));
    const data = (chunk: Buffer): void => {
      left -= chunk.length;
      if (left > 0) return;
      socket.off('data', data).off('close', close);
      resolve();
    };
    socket.on('data', data).on('close', close);
  });
}

/** Bytes. */
const REQUEST = 700;
