import { setTimeout as sleep } from 'node:timers/promises';
import { Late } from './deadline.ts';
import { work, WrongBytes } from './work.ts';
import type { Kind } from './work.ts';

export interface Task {
  readonly kind: Kind;
  readonly bytes: number;
}

/** Applications that use a tunnel one connection after another, whatever becomes of each. */
export class SteadyLoad {
  /** Connections that were carried to their end. */
  whole = 0;
  /** Connections that were cut off or refused. */
  cut = 0;
  /** What must never be: other bytes than were sent, and connections that did not end. */
  readonly wrongs: Error[] = [];
  readonly #applications: Promise<unknown>;
  #isOver = false;

  /** @param tasks in turns, for so many applications at once. */
  constructor(port: number, applications: number, tasks: readonly Task[]) {
    this.#applications = Promise.all(Array.from({ length: applications }, (_, index) => this.#apply(port, tasks, index)));
  }

  /** Resolves when the last connections have ended. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#applications;
  }

  async #apply(port: number, tasks: readonly Task[], first: number): Promise<void> {
    for (let next = first; !this.#isOver; next++) {
      const { kind, bytes } = tasks[next % tasks.length]!;
      try {
        await work(port, kind, bytes, DEADLINE_MS);
        this.whole++;
      } catch (error) {
        if (error instanceof WrongBytes || error instanceof Late) this.wrongs.push(error);
        else this.cut++;
        await sleep(PAUSE_MS);
      }
    }
  }
}

const DEADLINE_MS = 60_000;
const PAUSE_MS = 20;
