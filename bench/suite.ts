import type { Column } from './figures.ts';
import type { Session } from './session.ts';

/** Measurements that make one table, with the contenders as rows. */
export interface Suite {
  readonly name: string;
  readonly title: string;
  /** One sentence below the table: what was done. */
  readonly method: (session: Session) => string;
  readonly columns: readonly Column[];
  /** A short table of the medians before the full one, with the contenders as columns: for each row, columns of the full one that share its cells. */
  readonly overview?: readonly { readonly name: string; readonly columns: readonly string[] }[];
  readonly charts: readonly Chart[];
  /** Rows that `--check` compares qtunnel's with, the first that was measured; none for a suite that it leaves out. */
  readonly references: readonly string[];
  /** Why it cannot run here and how to change that; null when it can. */
  absence(): string | null;
  run(session: Session): Promise<void>;
}

/** A picture of some of the columns. */
export interface Chart {
  /** Of the file, without its ending. */
  readonly name: string;
  readonly title: string;
  /** With its unit. */
  readonly axis: string;
  /** In groups of bars, one for each contender; or as lines over `at`. */
  readonly columns: readonly string[];
  /** For lines: what the columns stand for, on a logarithmic axis. */
  readonly over?: { readonly axis: string; readonly at: readonly number[] };
}
