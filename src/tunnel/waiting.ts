/**
 * What bridges have read from their sockets and their streams have not taken. Most of it is small reads, kept in slabs that are used again: as garbage they were
 * collected only after 60 MB.
 */
class Waiting {
  #bytes = 0;
  readonly #free: ArrayBuffer[] = [];

  /** Bytes of memory in use. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A copy, to be released. */
  keep(chunk: Uint8Array): Uint8Array {
    const buffer = chunk.length > SLAB ? new ArrayBuffer(chunk.length) : (this.#free.pop() ?? new ArrayBuffer(SLAB));
    this.#bytes += buffer.byteLength;
    const copy = new Uint8Array(buffer, 0, chunk.length);
    copy.set(chunk);
    return copy;
  }

  /** Takes a copy back, or what is left of it. Nobody refers to it any more. */
  release({ buffer }: Uint8Array): void {
    this.#bytes -= buffer.byteLength;
    if (buffer.byteLength === SLAB && this.#free.length < MAX_FREE) this.#free.push(buffer as ArrayBuffer);
  }
}

/** One for all bridges of a thread. */
export const WAITING = new Waiting();
/** Bytes. */
export const SLAB = 16_384;
const MAX_FREE = 256;
