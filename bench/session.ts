import type { Owner } from '../test/support/process.ts';
import type { Contender, Target } from './contender.ts';
import type { Failure, Sample } from './figures.ts';
import { launch } from './launch.ts';
import type { Running } from './launch.ts';
import { withScope } from '../test/support/scope.ts';
import type { Site } from './site.ts';

/** What a run of the benchmarks is told, and what it has found so far. */
export class Session {
  readonly samples: Sample[] = [];
  readonly failures: Failure[] = [];
  readonly rounds: number;
  /** Of each load. */
  readonly seconds: number;
  readonly #isWanted: (contender: Contender) => boolean;
  readonly #progress: (line: string) => void;

  constructor({ rounds, seconds, isWanted, progress }: SessionOptions) {
    this.rounds = rounds;
    this.seconds = seconds;
    this.#isWanted = isWanted;
    this.#progress = progress;
  }

  /** Those that are measured: here, and asked for. */
  wanted<C extends Contender>(contenders: readonly C[]): C[] {
    return contenders.filter((contender) => this.#isWanted(contender));
  }

  /** Does `work` with every contender in every round: round by round, so that a slow minute of the machine hits all of them alike. */
  async eachInTurn<C extends Contender>(
    contenders: readonly C[],
    work: (contender: C, round: number) => Promise<void>,
  ): Promise<void> {
    for (let round = 1; round <= this.rounds; round++)
      for (const contender of this.wanted(contenders)) await work(contender, round);
  }

  /** Starts the contender, measures, and stops it. What fails is noted as a failure of `what`, and the run goes on. */
  async measure<T extends Target>(cell: Cell, { contender, site, backendPort, what }: Setup<T>, work: Measure<T>): Promise<void> {
    const row = contender.name;
    try {
      await withScope(async (owner) => {
        const running = await launch(owner, contender, site, backendPort);
        await work(running, (values) => this.#record(cell, row, values), owner);
      });
    } catch (error) {
      this.fail({ suite: cell.suite, row, what, message: firstLine(error as Error) });
    }
  }

  fail(failure: Failure): void {
    this.failures.push(failure);
    this.#progress(`${failure.suite}, ${failure.row}, ${failure.what}: FAILED: ${failure.message}`);
  }

  #record({ suite, round }: Cell, row: string, values: Record<string, number>): void {
    for (const [column, value] of Object.entries(values)) this.samples.push({ suite, row, column, round, value });
    const text = Object.entries(values).map(([column, value]) => `${column} ${readable(value)}`);
    this.#progress(`${suite} ${round}/${this.rounds}, ${row}: ${text.join(', ')}`);
  }
}

export interface SessionOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly isWanted: (contender: Contender) => boolean;
  readonly progress: (line: string) => void;
}

/** Where what is measured belongs. */
export interface Cell {
  readonly suite: string;
  readonly round: number;
}

export interface Setup<T extends Target = Target> {
  readonly contender: Contender<T>;
  readonly site: Site;
  readonly backendPort: number;
  /** What is measured, for messages. */
  readonly what: string;
}

/** Measures a contender that is up; `record` takes values by their columns' names. */
export type Measure<T extends Target = Target> = (
  running: T & Running,
  record: (values: Record<string, number>) => void,
  owner: Owner,
) => Promise<void>;

function firstLine({ message }: Error): string {
  return message.split('\n').find((line) => line.trim() !== '') ?? 'no message';
}

function readable(value: number): string {
  return value.toFixed(value >= 100 ? 0 : value >= 1 ? 1 : 2);
}
