/** A buffer to read into that can be left to whoever still needs what was read. */
export class ReadBuffer {
  #bytes: Uint8Array = new Uint8Array(SIZE);

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Leaves the buffer to its present user and takes another. */
  renew(): void {
    this.#bytes = new Uint8Array(SIZE);
  }
}

/** Bytes: one TCP write or DATA frame. Larger ones did not make bulk transfers faster; smaller ones cost a system call each. */
const SIZE = 65_536;
