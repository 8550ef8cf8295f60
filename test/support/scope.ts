import type { Owner } from './process.ts';

/**
 * Does `work` with a scope of its own. What the scope was told to undo is undone when the work ends, however it does, the last first; and
 * by `endAllScopes` when the whole run is interrupted.
 */
export async function withScope<T>(work: (scope: Owner) => Promise<T>): Promise<T> {
  if (interrupted) throw new Error('The run was interrupted');
  const scope = new Scope();
  open.add(scope);
  try {
    return await work(scope);
  } finally {
    await scope.end();
    open.delete(scope);
  }
}

/** For an interruption: undoes what all scopes hold, the innermost first. What is still started is undone at once, and no scope begins any more. */
export async function interrupt(): Promise<void> {
  interrupted = true;
  for (const scope of [...open].toReversed()) await scope.end();
}

class Scope implements Owner {
  readonly #ends: (() => unknown)[] = [];
  #ended = false;

  teardown(end: () => unknown): void {
    this.#ends.push(end);
    if (this.#ended) void this.end();
  }

  async end(): Promise<void> {
    this.#ended = true;
    for (let end = this.#ends.pop(); end !== undefined; end = this.#ends.pop()) {
      try {
        await end();
      } catch (error) {
        console.error(`While cleaning up: ${(error as Error).message}`);
      }
    }
  }
}

const open = new Set<Scope>();
let interrupted = false;
