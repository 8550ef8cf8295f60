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

/** Throws where the system makes no process. */
export type StartChild = (handler: ChildHandler) => Child;

/** A group of processes of its own keeps a terminal's signals from the child: they come from its supervisor. */
export const startChild: StartChild = (handler) => {
  const child = fork(programFile(), { detached: process.platform !== 'win32' });
  child.on('message', (message: FromChild, socket?: unknown) => handler.onMessage(message, socket as SocketHandle | undefined));
  child.on('error', () => {});
  child.once('exit', (code, signal) => handler.onExit({ code, signal }));
  const { pid } = child;
  // Without a process `kill` would go to this one's whole group (kill(2), pid 0).
  if (pid === undefined) throw new Error('the system makes no process');
  return {
    pid,
    tell: (message, socket) => tell(child, message, socket),
    kill: () => void child.kill('SIGKILL'),
  };
};

/** One that has just died hears nothing; its end is told of by `onExit`. One that did not hear what it has to do cannot go on; another question comes anyway. */
function tell(child: ChildProcess, message: ToChild, socket: SocketHandle | undefined): void {
  if (!child.connected) return;
  child.send(message, socket as never, { keepOpen: true }, (error) => {
    if (error !== null && message.type !== 'ping') child.kill('SIGKILL');
  });
}

/** As for the identity thread: tsc does not rewrite file names in a `new URL`. */
function programFile(): string {
  return fileURLToPath(new URL(`../bin/supervised${extname(fileURLToPath(import.meta.url))}`, import.meta.url));
}
