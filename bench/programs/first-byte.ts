import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * Knocks at a port until it answers: `HOST PORT`. For each line on standard input it opens a connection every few milliseconds, whatever has become of those before,
 * and sends a byte over each; it prints the milliseconds since 1970 at which the first byte came back.
 */
async function main([host, port]: readonly string[]): Promise<void> {
  for await (const _ of createInterface({ input: process.stdin })) console.log(await firstByte(host!, Number(port)));
}

function firstByte(host: string, port: number): Promise<number> {
  return new Promise((resolve) => {
    const open: Socket[] = [];
    const knock = (): void => {
      const socket = connect({ host, port, noDelay: true });
      open.push(socket);
      if (open.length > MOST_AT_ONCE) open.shift()!.destroy();
      socket.on('error', () => {});
      socket.write('?');
      socket.once('data', () => {
        clearInterval(timer);
        for (const one of open) one.destroy();
        resolve(Date.now());
      });
    };
    const timer = setInterval(knock, EVERY_MS);
    knock();
  });
}

const EVERY_MS = 5;
/** Those that hang are given up after this many more, half a second. */
const MOST_AT_ONCE = 100;

await main(process.argv.slice(2));
