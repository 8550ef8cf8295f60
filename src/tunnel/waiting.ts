/**
 * What bridges have read from their sockets and their streams have not taken, kept in slabs that are used again. As garbage it was collected only after 60 MB of
 * small reads, and collecting large ones was an eighth of a sender's CPU (10 bulk streams).
 */
class Waiting {
  #bytes = 0;
  readonly #slabs = [new Slabs(SLAB, 256), new Slabs(LARGE_SLAB, 64)];

  /** Bytes of memory in use. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A copy, to be released. */
  keep(chunk: Uint8Array): Uint8Array {
    const buffer = this.#slabs.find(({ size }) => chunk.length <= size)?.take() ?? new ArrayBuffer(chunk.length);
    this.#bytes += buffer.byteLength;
    const copy = new Uint8Array(buffer, 0, chunk.length);
    copy.set(chunk);
    return copy;
  }

  /** Takes a copy back, or what is left of it. Nobody refers to it any more. */
  release({ buffer }: Uint8Array): void {
    this.#bytes -= buffer.byteLength;
    this.#slabs.find(({ size }) => buffer.byteLength === size)?.give(buffer as ArrayBuffer);
  }
}

class Slabs {
  readonly size: number;
  readonly #most: number;
  readonly #free: ArrayBuffer[] = [];

  /** Keeps up to `most` free ones, of `size` bytes each. */
  constructor(size: number, most: number) {
    this.size = size;
    this.#most = most;
  }

  take(): ArrayBuffer {
    return this.#free.pop() ?? new ArrayBuffer(this.size);
  }

  give(slab: ArrayBuffer): void {
    if (this.#free.length < this.#most) this.#free.push(slab);
  }
}

/** Bytes of what a small read leaves, and of a whole read. */
export const SLAB = 16_384;
export const LARGE_SLAB = 65_536;

/** One for all bridges of a thread. */
export const WAITING = new Waiting();
