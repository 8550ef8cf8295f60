import type { SocketHandle } from './messages.ts';

/** Listening sockets that are open here, so that connections wait in them while no child is there to accept. */
export class KeptSockets {
  readonly #sockets = new Map<string, SocketHandle>();

  keep(key: string, socket: SocketHandle): void {
    this.release(key);
    this.#sockets.set(key, socket);
  }

  release(key: string): void {
    this.#sockets.get(key)?.close();
    this.#sockets.delete(key);
  }

  /** Releases all others. */
  retain(keys: readonly string[]): void {
    for (const key of this.#sockets.keys()) if (!keys.includes(key)) this.release(key);
  }

  entries(): Iterable<[string, SocketHandle]> {
    return this.#sockets.entries();
  }
}
