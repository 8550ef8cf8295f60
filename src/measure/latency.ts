import { randomBytes } from 'node:crypto';
import { resetSocket } from '../tunnel/reset-socket.ts';
import { ending } from './ending.ts';
import { open, type Path } from './paths.ts';
import type { Latency } from './results.ts';
import { Sample } from './sample.ts';

/**
 * Sends a message of this size, waits until all of it is back, and sends the next, over one connection, for so many seconds and at least until
 * one is back. The first does not count: the connection opens with it.
 * @param tell is given the milliseconds of the last round trip, several times a second.
 */
export async function measureLatency(
  path: Path,
  { size, seconds }: { readonly size: number; readonly seconds: number },
  signal: AbortSignal,
  tell: (milliseconds: number) => void,
): Promise<Latency> {
  const sample = new Sample();
  try {
    const { socket, input } = await open(path, 'echo', signal);
    const message = randomBytes(size);
    const until = performance.now() + seconds * 1000;
    let told = 0;
    const over = new Promise<void>((resolve) => {
      let missing = size;
      let began = performance.now();
      let trips = 0;
      input.give((chunk) => {
        missing -= chunk.length;
        if (missing > 0) return;
        const now = performance.now();
        if (trips++ > 0) sample.record(now - began);
        if (trips > 1 && now - told > TELL_MS) {
          tell(now - began);
          told = now;
        }
        if (now >= until && sample.count > 0) return resolve();
        missing = size;
        began = performance.now();
        socket.write(message);
      });
      socket.once('close', resolve).once('end', () => socket.destroy());
      socket.write(message);
    });
    await ending(seconds * 1000 + LONGEST_WAIT_MS, signal, over);
    resetSocket(socket);
  } catch {
    // A path that does not connect has no latency.
  }
  return { path: path.name, size, roundTrip: sample.percentiles() };
}

const TELL_MS = 200;
/** For a message that takes longer than all the time there is. */
const LONGEST_WAIT_MS = 10_000;
