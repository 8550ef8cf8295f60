import type { MessagePort } from 'node:worker_threads';
import { asQtunnelError, type ErrorCode, QtunnelError } from '../errors.ts';

/** What one side of a port does for the other, by name. A function may take one value and return another, both of which can be cloned. */
export type Services = Record<string, (input: never) => unknown>;
type Input<S extends Services, Name extends keyof S> = Parameters<S[Name]>[0];

/** Calls the other side of a port, and answers its calls. What fails there fails here with the same QtunnelError. */
export class CallPort<Theirs extends Services, Ours extends Services> {
  readonly #port: MessagePort;
  readonly #ours: Ours;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;
  #gone: QtunnelError | null = null;

  constructor(port: MessagePort, ours: Ours) {
    this.#port = port;
    this.#ours = ours;
    port.on('message', (message: Message) => this.#handle(message));
  }

  call<Name extends keyof Theirs & string>(name: Name, input: Input<Theirs, Name>): Promise<Awaited<ReturnType<Theirs[Name]>>> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#post({ kind: 'call', id, name, input });
    });
  }

  /** The same for what needs no answer; nothing is thrown. */
  tell<Name extends keyof Theirs & string>(name: Name, input: Input<Theirs, Name>): void {
    this.#post({ kind: 'call', id: 0, name, input });
  }

  /** Nobody is there any more: what waits for an answer, and what is called from now on, fails with `reason`. */
  close(reason: QtunnelError): void {
    this.#gone ??= reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
    this.#port.close();
  }

  #handle(message: Message): void {
    if (message.kind === 'call') return void this.#answer(message);
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.kind === 'done') waiting?.resolve(message.value);
    else waiting?.reject(revive(message.error));
  }

  async #answer({ id, name, input }: Call): Promise<void> {
    // A failure in what nobody waits for is for the thread's own last resort.
    if (id === 0) return void this.#ours[name]!(input as never);
    try {
      this.#post({ kind: 'done', id, value: await this.#ours[name]!(input as never) });
    } catch (error) {
      this.#post({ kind: 'failed', id, error: flatten(asQtunnelError(error)) });
    }
  }

  #post(message: Message): void {
    this.#port.postMessage(message);
  }
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: QtunnelError) => void;
}

interface Call {
  readonly kind: 'call';
  readonly id: number;
  readonly name: string;
  readonly input: unknown;
}

type Message =
  | Call
  | { readonly kind: 'done'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly error: FlatError };

/** An error as it travels: a class does not. */
export interface FlatError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly cause: string | null;
  readonly stack: string;
}

export function flatten(error: QtunnelError): FlatError {
  const cause = error.cause instanceof Error ? error.cause.message : null;
  return { code: error.code, message: error.message, cause, stack: error.stack ?? '' };
}

export function revive({ code, message, cause, stack }: FlatError): QtunnelError {
  const error = new QtunnelError(code, message, cause === null ? {} : { cause: new Error(cause) });
  error.stack = stack;
  return error;
}
