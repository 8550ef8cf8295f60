import { type ChildProcess, fork } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FromChild, SocketHandle, ToChild } from './messages.ts';

/** A child process as the supervisor sees it. */
export interface Child {
  readonly pid: number;
  tell(message: ToChild, socket?: SocketHandle): void;
  /** Ends it, whatever it does. */
  kill(): void;
}

export interface ChildHandler {
  onMessage(message: FromChild, socket: SocketHandle | undefined): void;
  /** Once, and nothing after it. `code` is null when a signal has ended it. */
  onExit(end: ChildEnd): void;
}

export interface ChildEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

export type StartChild = (handler: ChildHandler) => Child;

/** A group of processes of its own keeps a terminal's signals from the child: they come from its supervisor. */
export const startChild: StartChild = (handler) => {
  const child = fork(programFile(), { detached: process.platform !== 'win32' });
  child.on('message', (message: FromChild, socket?: unknown) => handler.onMessage(message, socket as SocketHandle | undefined));
  child.on('error', () => {});
  child.once('exit', (code, signal) => handler.onExit({ code, signal }));
  if (child.pid === undefined) queueMicrotask(() => handler.onExit({ code: 1, signal: null }));
  return {
    pid: child.pid ?? 0,
    tell: (message, socket) => tell(child, message, socket),
    kill: () => void child.kill('SIGKILL'),
  };
};

/** One that has just died hears nothing; its end is told of by `onExit`. */
function tell(child: ChildProcess, message: ToChild, socket: SocketHandle | undefined): void {
  if (child.connected) child.send(message, socket as never, { keepOpen: true }, () => {});
}

/** As for the identity thread: tsc does not rewrite file names in a `new URL`. */
function programFile(): string {
  return fileURLToPath(new URL(`../bin/supervised${extname(fileURLToPath(import.meta.url))}`, import.meta.url));
}
