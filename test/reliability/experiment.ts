import type { Owner } from '../support/process.ts';
import { withScope } from '../support/scope.ts';

/** Something that is done to qtunnel at full size, and that has to come out well. */
export interface Experiment {
  /** One word, for the command line. */
  readonly name: string;
  /** What is shown, in a line. */
  readonly title: string;
  /** Why it cannot be done here, and how to change that; false when it can. */
  absence(): string | false;
  /** Does its parts with `trial.part`, one after another. */
  run(trial: Trial): Promise<void>;
}

/** What was done, and what came of it. */
export interface Row {
  readonly what: string;
  readonly figures: string;
  readonly seconds: number;
  readonly passed: boolean;
}

/** One run of an experiment: its rows so far. */
export class Trial {
  readonly rows: Row[] = [];
  readonly #isWanted: (what: string) => boolean;
  readonly #say: (line: string) => void;

  constructor(isWanted: (what: string) => boolean, say: (line: string) => void) {
    this.#isWanted = isWanted;
    this.#say = say;
  }

  /**
   * Does one part, with a scope of its own for what it starts, and makes a row of it. `work` returns the part's figures as text, and throws when something was
   * not as it has to be; the parts after it are done all the same.
   */
  async part(what: string, work: (owner: Owner, say: (line: string) => void) => Promise<string>): Promise<void> {
    if (!this.#isWanted(what)) return;
    const started = performance.now();
    const end = (figures: string, passed: boolean) => {
      const row = { what, figures, passed, seconds: (performance.now() - started) / 1000 };
      this.rows.push(row);
      this.#say(`${what}: ${figures}`);
    };
    this.#say(what);
    try {
      end(await withScope((owner) => work(owner, (line) => this.#say(`${what}: ${line}`))), true);
    } catch (error) {
      end(`FAILED: ${(error as Error).message}`, false);
    }
  }
}

/** For what has to be so: throws with `otherwise` when it is not. */
export function demand(isSo: boolean, otherwise: string): asserts isSo {
  if (!isSo) throw new Error(otherwise);
}
