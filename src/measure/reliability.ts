import { createHash, randomBytes } from 'node:crypto';
import { open, type Path } from './paths.ts';
import type { Reliability } from './results.ts';

/**
 * Makes so many transfers, several at once, each over a connection of its own: random bytes go to the far end and come back, then each side ends. A transfer is
 * whole when what came back has the SHA-256 of what was sent.
 * @param tell is given how many are over, each time.
 */
export async function measureReliability(
  path: Path,
  transfers: number,
  signal: AbortSignal,
  tell: (over: number) => void,
): Promise<Reliability> {
  const count = { whole: 0, wrong: 0, failed: 0, bytes: 0 };
  const reasons: Record<string, number> = {};
  const until = performance.now() + LONGEST_MS;
  const over = (): number => count.whole + count.wrong + count.failed;
  const note = (outcome: Outcome, length: number): void => {
    count[outcome.end]++;
    if (outcome.end === 'whole') count.bytes += length;
    if (outcome.end === 'failed') reasons[outcome.reason] = (reasons[outcome.reason] ?? 0) + 1;
    tell(over());
  };
  let begun = 0;
  const work = async (): Promise<void> => {
    while (begun < transfers && performance.now() < until) {
      begun++;
      const sent = someBytes();
      const outcome = await transfer(path, sent, signal);
      if (signal.aborted) return;
      note(outcome, sent.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { path: path.name, transfers, ...count, skipped: transfers - over(), reasons };
}

export type Outcome = { readonly end: 'whole' | 'wrong' } | { readonly end: 'failed'; readonly reason: string };

/** Sends all of `sent`, ends, and compares what comes back until the end. */
export async function transfer(path: Path, sent: Uint8Array, signal: AbortSignal): Promise<Outcome> {
  try {
    const { socket, input } = await open(path, 'echo', signal);
    const hash = createHash('sha256');
    let received = 0;
    input.give((chunk) => {
      hash.update(chunk);
      received += chunk.length;
    });
    // Restarted by whatever goes either way.
    socket.setTimeout(STANDSTILL_MS, () => socket.destroy(Object.assign(new Error('stands still'), { code: 'STANDSTILL' })));
    socket.end(sent);
    const error = await new Promise<Error | null>((resolve) => {
      socket.once('error', resolve).once('end', () => resolve(null));
      socket.once('close', () => resolve(new Error('closed')));
    });
    socket.destroy();
    if (error !== null) return failure(error);
    // A reset that comes together with bytes looks like an end.
    if (received < sent.length) return { end: 'failed', reason: 'ENDED_EARLY' };
    const same = hash.digest().equals(createHash('sha256').update(sent).digest());
    return { end: same ? 'whole' : 'wrong' };
  } catch (error) {
    return failure(error);
  }
}

function failure(error: unknown): Outcome {
  const { code, message } = error as NodeJS.ErrnoException;
  return { end: 'failed', reason: code ?? message };
}

/** From 64 bytes to 1 MiB, each magnitude as often as the others. */
function someBytes(): Uint8Array {
  const length = Math.round(SMALLEST * (POOL.length / SMALLEST) ** Math.random());
  const start = Math.floor(Math.random() * (POOL.length - length + 1));
  return POOL.subarray(start, start + length);
}

const POOL = randomBytes(1 << 20);
const SMALLEST = 64;
const AT_ONCE = 10;
/** Those that have not begun by then are not tried; each that has ends within `STANDSTILL_MS` of standing still. */
const LONGEST_MS = 60_000;
const STANDSTILL_MS = 30_000;
