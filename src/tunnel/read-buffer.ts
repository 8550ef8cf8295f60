/**
 * A buffer to read into that can be left to whoever still needs what was read: the kernel mostly takes everything at once, and then the same buffer serves
 * all connections.
 */
export class ReadBuffer {
  #bytes = allocate();
  readonly #free: Uint8Array[] = [];

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Leaves the buffer to its present user, who may `recycle` it, and takes another. Returns the one that was left. */
  leave(): Uint8Array {
    const left = this.#bytes;
    this.#bytes = this.#free.pop() ?? allocate();
    return left;
  }

  /** Takes a buffer back that nobody refers to any more. */
  recycle(bytes: Uint8Array): void {
    if (this.#free.length < MAX_FREE) this.#free.push(bytes);
  }
}

function allocate(): Uint8Array {
  return Buffer.allocUnsafeSlow(SIZE);
}

/** Bytes of one TCP write. Measured with one bulk stream: 64 KiB took a third more CPU for a byte; 1 MiB was not better than 256 KiB by more than the noise. */
const SIZE = 256 * 1024;
const MAX_FREE = 16;
