import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { QtunnelError } from '../errors.ts';
import { stageFile } from '../identity/files.ts';
import type { Home, Plan } from './plan.ts';

/** What runs services on one platform. */
export interface Manager {
  readonly platform: NodeJS.Platform;
  readonly home: Home;
  job(plan: Plan): Job;
  /** What the service could not read or write: sentences with what to do about it, none when all is well. @throws QtunnelError `FILE_UNREADABLE` */
  obstacles(plan: Plan): string[];
  /**
   * Writes the job's file, and starts the service.
   * @returns what to tell the user.
   * @throws QtunnelError `SERVICE_FAILED`, `FILE_UNREADABLE` for what the service's user cannot read, `FILE_EXISTS` for another service of this name.
   */
  install(plan: Plan): Promise<string>;
  /** Stops the service and removes it; what it has remembered stays. @throws QtunnelError `SERVICE_FAILED`, `FILE_EXISTS` */
  uninstall(unit: string): Promise<string>;
  /** What the manager says of the service, and whether it runs. @throws QtunnelError `SERVICE_FAILED` */
  status(unit: string): Status;
}

/** What a manager is given. */
export interface Job {
  /** Made when it is not there. */
  readonly folder?: string;
  readonly file: string;
  /** Of the file. */
  readonly text: string;
  /** Run in this order when the file is there; the first word is the program. */
  readonly commands: readonly Command[];
}

export type Command = readonly [program: string, ...args: string[]];

export interface Status {
  readonly text: string;
  readonly runs: boolean;
}

/** How the command is started: Node and its script, absolute. */
export interface Program {
  readonly node: string;
  readonly script: string;
}

export function thisProgram(): Program {
  return { node: process.execPath, script: realpathSync(process.argv[1] ?? '') };
}

/** In everything that was made here; others are let be. */
export const MARK = 'Made by qtunnel service install; qtunnel service uninstall removes it.';

/** Beyond -drain-timeout, to close what is there. */
export const END_SECONDS = 10;

/** How many files the service may have open. */
export function descriptors({ maxConnections }: Plan): number {
  return Math.max(LEAST_DESCRIPTORS, maxConnections * DESCRIPTORS_EACH);
}

/** @throws QtunnelError `FILE_EXISTS` for a file that was not made here. */
export function refuseForeign(file: string): void {
  if (existsSync(file) && !readFileSync(file, 'utf8').includes(MARK)) throw foreign(file);
}

/** @param what a file or a task. */
export function foreign(what: string): QtunnelError {
  return new QtunnelError(
    'FILE_EXISTS',
    `${what} is there and was not made by qtunnel service install: remove it, or choose another -name`,
  );
}

/** @throws QtunnelError `SERVICE_FAILED` */
export function requireRoot(verb: string): void {
  if (process.getuid?.() !== 0) throw new QtunnelError('SERVICE_FAILED', `only root may do this: sudo qtunnel service ${verb} …`);
}

/** @throws QtunnelError `FILE_UNREADABLE` when there are any. */
export function refuseObstacles(obstacles: readonly string[]): void {
  if (obstacles.length > 0) throw new QtunnelError('FILE_UNREADABLE', `nothing is installed: ${obstacles.join(' ')}`);
}

/** A file that every user may read. @throws QtunnelError `SERVICE_FAILED` */
export async function writeJob(file: string, content: string | Buffer): Promise<void> {
  try {
    const staged = await stageFile(file, content, 0o644);
    try {
      await staged.replace();
    } finally {
      await staged.discard();
    }
  } catch (cause) {
    throw new QtunnelError('SERVICE_FAILED', `${file} cannot be written: ${String((cause as Error).message)}`, { cause });
  }
}

/** One on each side, and over TLS one more. */
const DESCRIPTORS_EACH = 4;
const LEAST_DESCRIPTORS = 65_536;
