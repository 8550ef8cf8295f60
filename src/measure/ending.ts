/** Resolves when the time is over, the signal fires, or `early` settles. */
export async function ending(milliseconds: number, signal: AbortSignal, early?: Promise<unknown>): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener('abort', end);
    void early?.then(end, end);
  });
}
