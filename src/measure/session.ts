import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { VERSION } from '../version.ts';
import { type ByteInput, collectLine, type Take } from './bytes.ts';
import { encodeReport, helloLine, LONGEST_REQUEST, newKey, parseRequest, type Service } from './wire.ts';

/** What the sessions of a far end share. */
export interface Grounds {
  /** The keys that open the direct port: one for each hello whose connection is open. */
  readonly keys: Set<string>;
  /** The direct port; null when there is none. */
  readonly directPort: number | null;
}

/**
 * The far end of one connection: reads what the near end asks for and does it. The socket may be half closed; whoever does not ask in time, or
 * asks for something else, is cut off.
 * @param rest what has been read of it already.
 */
export function serveSession(socket: Socket, input: ByteInput, grounds: Grounds, rest?: Uint8Array): void {
  const deadline = setTimeout(() => socket.destroy(), PATIENCE_MS);
  socket.on('close', () => clearTimeout(deadline));
  const begin = collectLine(LONGEST_REQUEST, (line, data) => {
    clearTimeout(deadline);
    const service = parseRequest(line ?? '');
    if (service === undefined) return void socket.destroy();
    input.give(WORK[service](socket, grounds), data);
  });
  input.give(begin, rest);
}

function hello(socket: Socket, { keys, directPort }: Grounds): Take {
  endWithPeer(socket);
  const key = newKey();
  keys.add(key);
  socket.on('close', () => keys.delete(key));
  socket.write(helloLine({ version: VERSION, direct: directPort === null ? null : { port: directPort, key } }));
  return () => {};
}

function sink(socket: Socket): Take {
  endWithPeer(socket);
  let bytes = 0;
  const report = (): void => {
    // One that is still waiting makes way for later news.
    if (socket.writable && socket.writableLength === 0) socket.write(encodeReport({ time: performance.now(), bytes }));
  };
  report();
  const timer = setInterval(report, REPORT_INTERVAL_MS);
  socket.on('close', () => clearInterval(timer));
  return (chunk) => {
    bytes += chunk.length;
  };
}

function source(socket: Socket): Take {
  endWithPeer(socket);
  const fill = (): void => {
    for (let turn = 0; turn < WRITES_A_TURN; turn++) {
      if (!socket.writable || !socket.write(RANDOM)) return;
    }
    setImmediate(fill);
  };
  socket.on('drain', fill);
  fill();
  return () => {};
}

function echo(socket: Socket): Take {
  endWithPeer(socket);
  socket.on('drain', () => socket.resume());
  return (chunk) => {
    if (socket.writable && !socket.write(Uint8Array.from(chunk))) socket.pause();
  };
}

function endWithPeer(socket: Socket): void {
  socket.on('end', () => socket.end());
}

const WORK: Record<Service, (socket: Socket, grounds: Grounds) => Take> = { hello, sink, source, echo };
/** What a source sends: nothing on the way can compress it. */
const RANDOM = randomBytes(65_536);
/** 1 MiB, so that other connections have their turn. */
const WRITES_A_TURN = 16;
const REPORT_INTERVAL_MS = 100;
const PATIENCE_MS = 10_000;
