import { libraryC } from '../../src/udp/libc.ts';
import type { Owner } from '../support/process.ts';

/** A service manager's end of the socket that `NOTIFY_SOCKET` names. */
export class Manager {
  readonly #calls = callsOf(libraryC()!);
  readonly #fd: number;
  #open = true;

  constructor(t: Owner, address: string) {
    const name = Buffer.from(address.replace('@', '\0'));
    const sockaddr = Buffer.concat([Buffer.from([1, 0]), name]);
    this.#fd = this.#calls.socket(1, 2, 0);
    if (this.#calls.bind(this.#fd, sockaddr, sockaddr.length) !== 0) throw new Error(`cannot listen on ${address}`);
    t.teardown(() => this.close());
  }

  message(): Promise<string> {
    const buffer = Buffer.alloc(100);
    return new Promise((resolve, reject) => {
      this.#calls.recv.async(this.#fd, buffer, buffer.length, 0, (error: Error | null, length: number) =>
        error === null ? resolve(buffer.toString('utf8', 0, length)) : reject(error),
      );
    });
  }

  close(): void {
    if (this.#open) this.#calls.close(this.#fd);
    this.#open = false;
  }
}

function callsOf({ libc }: NonNullable<ReturnType<typeof libraryC>>) {
  return {
    socket: libc.func('int socket(int, int, int)'),
    bind: libc.func('int bind(int, void *, unsigned int)'),
    recv: libc.func('long recv(int, void *, size_t, int)'),
    close: libc.func('int close(int)'),
  };
}
