import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';

/**
 * The first megabyte of a connection: `serve PORT`, or `up HOST PORT` and `down HOST PORT`, which print the milliseconds from before the
 * connection was asked for until 10⁶ bytes have arrived. The client's first byte says which way; going up, the server answers the last byte
 * with one.
 */
async function main([command, ...rest]: readonly string[]): Promise<void> {
  if (command === 'serve') return serve(Number(rest[0]));
  const started = performance.now();
  const socket = connect({ host: rest[0]!, port: Number(rest[1]), noDelay: true });
  await (command === 'up' ? sendUp(socket) : receiveDown(socket));
  console.log((performance.now() - started).toFixed(1));
  socket.destroy();
}

function serve(port: number): void {
  createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    void answer(socket);
  }).listen(port);
}

async function answer(socket: Socket): Promise<void> {
  const [first] = (await once(socket, 'data')) as [Buffer];
  if (first[0] === DOWN) return void socket.end(Buffer.alloc(MEGABYTE, 1));
  await count(socket, MEGABYTE + 1 - first.length);
  socket.end(Buffer.alloc(1));
}

async function sendUp(socket: Socket): Promise<void> {
  socket.write(Buffer.concat([Buffer.of(UP), Buffer.alloc(MEGABYTE, 1)]));
  await count(socket, 1);
}

async function receiveDown(socket: Socket): Promise<void> {
  socket.write(Buffer.of(DOWN));
  await count(socket, MEGABYTE);
}

/** Resolves when so many bytes have come; rejects when the connection ends before. */
function count(socket: Socket, bytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = bytes;
    const take = (chunk: Buffer) => {
      left -= chunk.length;
      if (left <= 0) resolve();
    };
    if (left <= 0) return resolve();
    socket.on('data', take);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`The connection ended ${left} bytes too early`)));
  });
}

const MEGABYTE = 1_000_000;
const UP = 1;
const DOWN = 2;

await main(process.argv.slice(2));
