import { type ChildProcess, fork } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Address, ProcessSettings, TunnelSettings } from '../config/settings.ts';
import { type ErrorCode, QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';

/** What a child process is to be. It comes over the channel to the child: neither its command line nor its environment holds a secret. */
export type Order =
  | { readonly role: 'backend'; readonly direct: Address | null }
  | {
      readonly role: 'server';
      readonly settings: TunnelSettings;
      readonly log: Pick<ProcessSettings, 'logto' | 'logLevel' | 'logFormat'>;
    }
  | { readonly role: 'client'; readonly settings: TunnelSettings };

export type Role = Order['role'];

/** What a child tells when it is ready. */
export interface Ready {
  readonly backend: { readonly port: number; readonly directPort: number | null };
  readonly server: { readonly address: Address; readonly fingerprint: string };
  /** The link is up; `port` is the local one. */
  readonly client: { readonly port: number };
}

export interface LinkNews {
  readonly kind: 'link';
  readonly state: 'up' | 'down';
  readonly peer: string;
  readonly transport: Link['transport'];
  readonly reason: string;
}

/** What a child sends. */
export type Told =
  | { readonly kind: 'ready'; readonly ready: Ready[Role] }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly message: string }
  | LinkNews;

export interface Child<R extends Role> {
  readonly ready: Ready[R];
  /** Settles when the child has ended without being asked to. */
  readonly failed: Promise<QtunnelError>;
  stop(): Promise<void>;
}

/** Starts a part of the bench in a process of its own. @throws QtunnelError why it did not start; `ABORTED` when the signal fires first. */
export async function startChild<R extends Role>(
  order: Extract<Order, { role: R }>,
  signal: AbortSignal,
  onLink: (news: LinkNews) => void = () => {},
): Promise<Child<R>> {
  const child = fork(childFile(), [], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const ended = endOf(child);
  let stopping = false;
  const stop = async (): Promise<void> => {
    stopping = true;
    if (child.connected) child.disconnect();
    const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_END_MS);
    await ended;
    clearTimeout(timer);
  };
  try {
    const ready = await readiness(child, order, ended, signal, onLink);
    const failed = new Promise<QtunnelError>((resolve) => {
      const unasked = (how: string): void => {
        if (!stopping) resolve(new QtunnelError('INTERNAL', `The process of the ${order.role} ended (${how}).`));
      };
      void ended.then(unasked);
    });
    return { ready: ready as Ready[R], failed, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Beside this file and with the same extension: tsc does not rewrite file names. */
function childFile(): string {
  const here = fileURLToPath(import.meta.url);
  return path.join(path.dirname(here), `child${path.extname(here)}`);
}

async function readiness(
  child: ChildProcess,
  order: Order,
  ended: Promise<string>,
  signal: AbortSignal,
  onLink: (news: LinkNews) => void,
): Promise<Ready[Role]> {
  return await new Promise((resolve, reject) => {
    const abort = (): void => reject(new QtunnelError('ABORTED', 'The bench was stopped.'));
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    child.on('message', (told: Told) => {
      if (told.kind === 'link') return onLink(told);
      signal.removeEventListener('abort', abort);
      if (told.kind === 'ready') resolve(told.ready);
      else reject(new QtunnelError(told.code, told.message));
    });
    void ended.then((how) => reject(new QtunnelError('INTERNAL', `The process of the ${order.role} did not start (${how}).`)));
    child.send(order, () => {});
  });
}

/** Resolves with how it ended, in words. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, by) => resolve(by ?? `exit code ${code}`));
  });
}

const LONGEST_END_MS = 2000;
