/** How long a test waits for something that comes at once when all is well; a busy machine may take its time. */
export const DEADLINE_MS = 30_000;

/** Something did not come in time. */
export class Late extends Error {}

/** The promise's result, or a `Late` that says what did not come in time. */
export async function withDeadline<T>(promise: Promise<T>, what: () => string, milliseconds = DEADLINE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Late(`Not within ${milliseconds} ms: ${what()}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until the answer is neither undefined nor false; for what cannot be waited for by an event. */
export async function eventually<T>(what: string, ask: () => Promise<T> | T, milliseconds = DEADLINE_MS): Promise<T> {
  const deadline = performance.now() + milliseconds;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Late(`Not within ${milliseconds} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

const POLL_MS = 25;
