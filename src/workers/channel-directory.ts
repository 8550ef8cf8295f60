import { BroadcastChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { LinkDirectory } from '../tls/listen.ts';

/**
 * A directory of links over a channel of that name, which all workers of the process have. What was announced before a question is found: a message
 * is in the others' queues when it has been posted, and the queue is emptied before it is searched.
 */
export class ChannelDirectory implements LinkDirectory {
  onWithdrawn: (id: string, cut: boolean) => void = () => {};
  readonly #channel: BroadcastChannel;
  readonly #tokens = new Map<string, Uint8Array>();

  constructor(name: string) {
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#handle(data as Entry);
    // It keeps no thread alive.
    (this.#channel as unknown as MessagePort).unref();
  }

  announce(id: string, token: Uint8Array): void {
    this.#channel.postMessage({ id, token, cut: false } satisfies Entry);
  }

  withdraw(id: string, cut: boolean): void {
    this.#channel.postMessage({ id, token: null, cut } satisfies Entry);
  }

  find(id: string): Uint8Array | undefined {
    for (;;) {
      const waiting = receiveMessageOnPort(this.#channel as unknown as MessagePort);
      if (waiting === undefined) return this.#tokens.get(id);
      this.#handle(waiting.message as Entry);
    }
  }

  close(): void {
    this.#channel.close();
  }

  #handle({ id, token, cut }: Entry): void {
    if (token !== null) return void this.#tokens.set(id, token);
    this.#tokens.delete(id);
    this.onWithdrawn(id, cut);
  }
}

interface Entry {
  readonly id: string;
  /** Null when the link is gone. */
  readonly token: Uint8Array | null;
  readonly cut: boolean;
}
