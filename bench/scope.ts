import type { Owner } from '../test/support/process.ts';

/**
 * Does `work` with a scope of its own. What the scope was told to undo is undone when the work ends, however it does, the last first; and
 * by `endAllScopes` when the whole run is interrupted.
 */
export async function withScope<T>(work: (scope: Owner) => Promise<T>): Promise<T> {
  const scope = new Scope();
  open.add(scope);
  try {
    return await work(scope);
  } finally {
    await scope.end();
    open.delete(scope);
  }
}

/** For an interruption: undoes what all scopes hold, the innermost first. */
export async function endAllScopes(): Promise<void> {
  for (const scope of [...open].toReversed()) await scope.end();
}

class Scope implements Owner {
  readonly #ends: (() => unknown)[] = [];

  teardown(end: () => unknown): void {
    this.#ends.push(end);
  }

  async end(): Promise<void> {
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
