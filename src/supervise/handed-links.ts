import type { LinkDirectory } from '../tls/listen.ts';
import type { FromChild, LinkMessage } from './messages.ts';

/**
 * Links over TLS of two processes that share a port: while one takes the other's place, a further connection of a link may come to either. Each tells the other of its
 * links, which makes a branch of such a link, as workers do (`LinkDirectory`).
 */
export class HandedLinks {
  readonly #tell: (message: FromChild) => void;
  readonly #own = new Map<string, string>();
  readonly #others = new Map<string, Uint8Array>();
  readonly #directories = new Set<LinkDirectory>();
  #telling = false;

  constructor(tell: (message: FromChild) => void) {
    this.#tell = tell;
  }

  /** For one listener. */
  directory(): LinkDirectory {
    const directory: LinkDirectory = {
      announce: (id, token) => {
        this.#own.set(id, Buffer.from(token).toString('hex'));
        this.#tellOf(id);
      },
      withdraw: (id, cut) => {
        this.#own.delete(id);
        if (this.#telling) this.#tell({ type: 'linkGone', id, cut });
      },
      find: (id) => this.#others.get(id),
      onWithdrawn: () => {},
      close: () => this.#directories.delete(directory),
    };
    this.#directories.add(directory);
    return directory;
  }

  /** From now on somebody wants to know. */
  startTelling(): void {
    this.#telling = true;
    for (const id of this.#own.keys()) this.#tellOf(id);
  }

  handle(message: LinkMessage): void {
    if (message.type === 'link') this.#others.set(message.id, Buffer.from(message.token, 'hex'));
    else this.#withdraw(message.id, message.cut);
  }

  /** The other process is gone, and its links with it. */
  forgetOthers(): void {
    this.#telling = false;
    for (const id of this.#others.keys()) this.#withdraw(id, true);
  }

  #tellOf(id: string): void {
    if (this.#telling) this.#tell({ type: 'link', id, token: this.#own.get(id)! });
  }

  #withdraw(id: string, cut: boolean): void {
    this.#others.delete(id);
    for (const { onWithdrawn } of this.#directories) onWithdrawn(id, cut);
  }
}
