import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { DEADLINE_MS, withDeadline } from './deadline.ts';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** What to put before the command, such as `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
}

/** Who lives shorter than what it starts: a test, or a part of a benchmark. What it is told to do in the end, it does. */
export interface Owner {
  teardown(end: () => unknown): unknown;
}

/** A child process: its lines of output as they come, and its end. */
export class Program {
  readonly lines: string[] = [];
  readonly exited: Promise<Exit>;
  readonly child: ChildProcess;
  readonly #command: string;
  readonly #waiting = new Set<() => void>();
  #exit: Exit | null = null;

  constructor(command: string, args: readonly string[], options: ProcessOptions) {
    const [file = command, ...rest] = [...(options.prefix ?? []), command, ...args];
    this.#command = [file, ...rest].join(' ');
    this.child = spawn(file, rest, { cwd: options.cwd, env: { ...process.env, ...options.env } });
    for (const stream of [this.child.stdout, this.child.stderr]) this.#collect(stream!);
    this.child.stdin!.on('error', () => {});
    this.exited = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => {
        this.#exit = { code, signal };
        resolve(this.#exit);
        this.#wake();
      });
    });
    this.exited.catch(() => this.#wake());
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Everything written to standard output and standard error so far. */
  get output(): string {
    return this.lines.join('\n');
  }

  /** The end of the output, for messages. */
  get tail(): string {
    return this.lines.slice(-TAIL_LINES).join('\n');
  }

  /**
   * Resolves with the first thing other than undefined that `find` returns, tried now and after every new line; rejects with the
   * output when the process ends first or the deadline passes.
   */
  waitFor<T>(what: string, find: () => T | undefined, deadline = DEADLINE_MS): Promise<T> {
    const found = new Promise<T>((resolve, reject) => {
      const attempt = () => {
        const value = find();
        if (value === undefined && this.#exit === null) return;
        this.#waiting.delete(attempt);
        if (value === undefined)
          reject(new Error(`${this.#command} ended (${this.#exit?.signal ?? this.#exit?.code}) before: ${what}\n${this.tail}`));
        else resolve(value);
      };
      this.#waiting.add(attempt);
      attempt();
    });
    return withDeadline(found, () => `${what} (${this.#command})\n${this.tail}`, deadline);
  }

  /** The first line that matches. */
  line(pattern: RegExp): Promise<string> {
    return this.waitFor(`a line like ${pattern}`, () => this.lines.find((line) => pattern.test(line)));
  }

  /** Resolves when the process has ended by itself. */
  end(deadline = DEADLINE_MS): Promise<Exit> {
    return withDeadline(this.exited, () => `the end of ${this.#command}\n${this.tail}`, deadline);
  }

  /** Sends a signal, SIGKILL unless told otherwise, and waits for the end. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    if (this.#exit === null) this.child.kill(signal);
    return this.end();
  }

  #collect(stream: Readable): void {
    createInterface({ input: stream }).on('line', (line) => {
      this.lines.push(line);
      this.onLine(line);
      this.#wake();
    });
  }

  protected onLine(_line: string): void {}

  #wake(): void {
    for (const attempt of this.#waiting) attempt();
  }
}

/** Starts a program that lives until it ends by itself or its owner does. */
export function start(t: Owner, command: string, args: readonly string[], options: ProcessOptions = {}): Program {
  const program = new Program(command, args, options);
  t.teardown(() => program.kill().catch(() => {}));
  return program;
}

/** Runs a program to its end and returns its output; throws with that output when it fails. */
export async function run(t: Owner, command: string, args: readonly string[], options: ProcessOptions = {}): Promise<string> {
  const program = start(t, command, args, options);
  program.child.stdin!.end();
  const { code, signal } = await program.end(RUN_DEADLINE_MS);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed (${signal ?? code})\n${program.output}`);
  return program.output;
}

const TAIL_LINES = 60;
const RUN_DEADLINE_MS = 120_000;
