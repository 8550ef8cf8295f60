import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Connections that do nothing: `serve PORT` answers each one's first byte and holds it. `hold HOST PORT` reads numbers from standard input,
 * one a line, opens connections until it holds so many that have been answered, and prints the number.
 */
async function main([command, ...rest]: readonly string[]): Promise<void> {
  if (command === 'serve') return serve(Number(rest[0]));
  const held: Socket[] = [];
  for await (const line of createInterface({ input: process.stdin })) {
    const wanted = Number(line);
    const openOnes = Array.from({ length: AT_ONCE }, () => openUntil(held, wanted, rest[0]!, Number(rest[1])));
    await Promise.all(openOnes);
    console.log(wanted);
  }
}

function serve(port: number): void {
  createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => socket.write(bytes));
  }).listen({ port, backlog: 4096 });
}

async function openUntil(held: Socket[], wanted: number, host: string, port: number): Promise<void> {
  while (held.length < wanted) {
    const socket = connect({ host, port, noDelay: true });
    held.push(socket);
    socket.write('?');
    socket.setTimeout(PATIENCE_MS, () =>
      fail(new Error(`A connection was not answered within ${PATIENCE_MS / 1000} s, after ${held.length} were opened`)),
    );
    await Promise.race([once(socket, 'data'), closed(socket, held)]);
    socket.setTimeout(0);
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('A connection that should stay was closed')));
  }
}

async function closed(socket: Socket, held: readonly Socket[]): Promise<never> {
  await once(socket, 'close');
  throw new Error(`A connection was closed before it was answered, after ${held.length} were opened`);
}

function fail(error: Error): never {
  console.error(error.message);
  process.exit(1);
}

const AT_ONCE = 50;
const PATIENCE_MS = 15_000;

process.on('unhandledRejection', (error) => fail(error as Error));
await main(process.argv.slice(2)).catch(fail);
