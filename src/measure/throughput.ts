import { randomBytes } from 'node:crypto';
import { resetSocket } from '../tunnel/reset-socket.ts';
import { ending } from './ending.ts';
import { type Connection, open, type Path } from './paths.ts';
import type { Throughput } from './results.ts';
import { collect } from './bytes.ts';
import { decodeReport, REPORT_LENGTH, type Report } from './wire.ts';

export interface ThroughputPlan {
  readonly direction: 'up' | 'down';
  readonly connections: number;
  /** Bytes handed to the socket at once; the far end always writes 64 KiB. */
  readonly writeSize: number;
  readonly seconds: number;
}

/**
 * Sends or receives for so many seconds over so many connections. What counts is what has arrived at the receiving end, by that end's
 * clock, from its first byte on; what is under way when the time is over does not count, and is cut off.
 * @param tell is given the bytes per second so far, several times a second.
 */
export async function measureThroughput(
  path: Path,
  { direction, connections, writeSize, seconds }: ThroughputPlan,
  signal: AbortSignal,
  tell: (bytesPerSecond: number) => void,
): Promise<Throughput> {
  const flows = await openAll(path, direction, connections, writeSize, signal);
  const running = flows.filter((flow) => flow !== null);
  const timer = setInterval(() => tell(totalOf(running).bytesPerSecond), TELL_MS);
  await ending(seconds * 1000, signal, Promise.all(running.map(({ over }) => over)));
  clearInterval(timer);
  const total = totalOf(running);
  const failed = connections - running.filter(({ broken }) => !broken()).length;
  for (const { connection } of running) resetSocket(connection.socket);
  return { path: path.name, direction, connections, writeSize, failed, ...total };
}

/** One connection, and what arrived over it. */
interface Flow {
  readonly connection: Connection;
  /** The first and the last moment of which something is known; null before. */
  readonly first: () => Report | null;
  readonly last: () => Report | null;
  readonly broken: () => boolean;
  /** Settles when it has broken. */
  readonly over: Promise<void>;
}

async function openAll(
  path: Path,
  direction: 'up' | 'down',
  count: number,
  writeSize: number,
  signal: AbortSignal,
): Promise<(Flow | null)[]> {
  const chunk = randomBytes(writeSize);
  return await Promise.all(
    Array.from({ length: count }, async () => {
      try {
        const connection = await open(path, direction === 'up' ? 'sink' : 'source', signal);
        return direction === 'up' ? upload(connection, chunk) : download(connection);
      } catch {
        return null;
      }
    }),
  );
}

function upload(connection: Connection, chunk: Uint8Array): Flow {
  const { socket, input } = connection;
  let first: Report | null = null;
  let last: Report | null = null;
  const takeReport = (encoded: Uint8Array, rest: Uint8Array): void => {
    last = decodeReport(encoded);
    first ??= last;
    input.give(collect(REPORT_LENGTH, takeReport), rest);
  };
  input.give(collect(REPORT_LENGTH, takeReport));
  const fill = (): void => {
    for (let written = 0; written < BYTES_A_TURN; written += Math.max(chunk.length, LEAST_COST)) {
      if (!socket.writable || !socket.write(chunk)) return;
    }
    setImmediate(fill);
  };
  socket.on('drain', fill);
  fill();
  return { connection, first: () => first, last: () => last, ...watch(connection) };
}

function download(connection: Connection): Flow {
  let first: Report | null = null;
  let bytes = 0;
  connection.input.give((chunk) => {
    // Counting begins when the first bytes are there, as it does at the far end for the other direction.
    first ??= { time: performance.now(), bytes: 0 };
    bytes += chunk.length;
  });
  return { connection, first: () => first, last: () => ({ time: performance.now(), bytes }), ...watch(connection) };
}

function watch({ socket }: Connection): Pick<Flow, 'broken' | 'over'> {
  let broken = socket.destroyed;
  const over = new Promise<void>((resolve) => {
    const end = (): void => {
      broken = true;
      resolve();
    };
    socket.once('close', end).once('end', () => socket.destroy());
    if (broken) end();
  });
  return { broken: () => broken, over };
}

/** From the earliest moment known of any flow to the latest; all flows of a direction have the same clock. */
function totalOf(flows: readonly Flow[]): Pick<Throughput, 'bytes' | 'seconds' | 'bytesPerSecond'> {
  const firsts = flows.map(({ first }) => first()).filter((report) => report !== null);
  const lasts = flows.map(({ last }) => last()).filter((report) => report !== null);
  const bytes = lasts.reduce((sum, report) => sum + report.bytes, 0);
  if (firsts.length === 0) return { bytes, seconds: 0, bytesPerSecond: 0 };
  const from = Math.min(...firsts.map(({ time }) => time));
  const seconds = Math.round(Math.max(...lasts.map(({ time }) => time)) - from) / 1000;
  return { bytes, seconds, bytesPerSecond: seconds > 0 ? Math.round(bytes / seconds) : 0 };
}

const TELL_MS = 200;
/** Then other sockets have their turn. */
const BYTES_A_TURN = 1 << 20;
/** A small write takes about as long as this many bytes do. */
const LEAST_COST = 4096;
