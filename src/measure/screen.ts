import { bold } from '../cli/help.ts';
import { nameOf, secondsOf, type Step, summaryOf, TITLES, type Finding } from './plan.ts';
import { Table } from './table.ts';
import type { Row } from './table.ts';
import type { PathName } from './results.ts';
import { formatSeconds } from './units.ts';

/** Where text goes to: standard output or standard error. */
export interface Out {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** What a bench shows while it measures. */
export interface Screen {
  /** A line before anything is measured. */
  say(line: string): void;
  /** What is being done before anything is measured. */
  prepare(what: string): void;
  begin(paths: readonly PathName[], steps: readonly Step[]): void;
  /** How the measurement that is being made is going. */
  going(step: Step, path: PathName, how: string): void;
  found(step: Step, path: PathName, finding: Finding): void;
  /** The step has been made over every path, or as far as it came. */
  row(row: Row): void;
  /** The progress line goes, and what is left of the table comes. */
  end(): void;
}

/**
 * On a terminal the table grows on standard output while a line on standard error that is written over and over shows how far it is. In a pipe
 * standard error has a line for each measurement, and standard output the whole table at the end. With `json` standard output is left alone.
 */
export class TextScreen implements Screen {
  readonly #out: Out;
  readonly #err: Out;
  readonly #json: boolean;
  readonly #colour: boolean;
  #table = new Table([], String);
  #waiting = '';
  #secondsLeft = 0;
  #total = 0;
  #done = 0;

  constructor(out: Out, err: Out, { json, colour }: { readonly json: boolean; readonly colour: boolean }) {
    this.#out = out;
    this.#err = err;
    this.#json = json;
    this.#colour = colour;
  }

  say(line: string): void {
    this.#clear();
    (this.#json ? this.#err : this.#out).write(`${line}\n`);
  }

  prepare(what: string): void {
    this.#progress(what);
  }

  begin(paths: readonly PathName[], steps: readonly Step[]): void {
    this.#table = new Table(paths, (text) => bold(text, this.#colour));
    this.#total = steps.length * paths.length;
    this.#secondsLeft = steps.reduce((sum, step) => sum + secondsOf(step) * paths.length, 0);
  }

  going(step: Step, path: PathName, how: string): void {
    const left = `about ${formatSeconds(this.#secondsLeft)} left`;
    this.#progress(`${this.#place()} ${TITLES[path]}, ${nameOf(step)}${how === '' ? '' : `: ${how}`} · ${left}`);
  }

  found(step: Step, path: PathName, finding: Finding): void {
    if (this.#err.isTTY !== true) this.#err.write(`${this.#place()} ${TITLES[path]}, ${nameOf(step)}: ${summaryOf(finding)}\n`);
    this.#done++;
    this.#secondsLeft -= secondsOf(step);
  }

  row(row: Row): void {
    this.#waiting += this.#table.add(row);
    if (this.#out.isTTY === true) this.#flush();
  }

  end(): void {
    this.#flush();
  }

  #place(): string {
    return `[${this.#done + 1}/${this.#total}]`;
  }

  #flush(): void {
    this.#clear();
    if (!this.#json) this.#out.write(this.#waiting);
    this.#waiting = '';
  }

  /** Cut to the terminal's width: a line that wraps could not be written over. */
  #progress(line: string): void {
    if (this.#err.isTTY === true) this.#err.write(`\r${line.slice(0, (this.#err.columns || USUAL_COLUMNS) - 1)}${CLEAR_TO_END}`);
  }

  #clear(): void {
    if (this.#err.isTTY === true) this.#err.write(`\r${CLEAR_TO_END}`);
  }
}

/** For a terminal that does not know its width. */
const USUAL_COLUMNS = 80;
const CLEAR_TO_END = '\u001b[K';
