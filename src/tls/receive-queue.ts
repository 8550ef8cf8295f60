/**
 * Bytes that have arrived for one stream and wait to be read, in the chunks they came in.
 *
 *     chunks:  [ read ][ read | rest ][      ][      ]
 *                       #head: index    #offset: bytes of it that were read
 */
export class ReceiveQueue {
  #chunks: Uint8Array[] = [];
  #head = 0;
  #offset = 0;
  #cost = 0;

  get isEmpty(): boolean {
    return this.#head === this.#chunks.length;
  }

  /** Bytes of memory that the queue stands for. */
  get cost(): number {
    return this.#cost;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#cost += chunk.length + CHUNK_OVERHEAD;
  }

  /** Fills `into` as far as the bytes go and returns how many those were. */
  read(into: Uint8Array): number {
    let filled = 0;
    while (filled < into.length && this.#head < this.#chunks.length) {
      const chunk = this.#chunks[this.#head]!;
      const n = Math.min(chunk.length - this.#offset, into.length - filled);
      into.set(n === chunk.length ? chunk : chunk.subarray(this.#offset, this.#offset + n), filled);
      filled += n;
      this.#offset += n;
      if (this.#offset === chunk.length) this.#dropHead(chunk);
    }
    return filled;
  }

  clear(): void {
    this.#chunks = [];
    this.#head = 0;
    this.#offset = 0;
    this.#cost = 0;
  }

  #dropHead(chunk: Uint8Array): void {
    this.#cost -= chunk.length + CHUNK_OVERHEAD;
    this.#offset = 0;
    this.#head++;
    if (this.#head === this.#chunks.length || this.#head === COMPACT_AT) {
      this.#chunks.splice(0, this.#head);
      this.#head = 0;
    }
  }
}

/** Bytes: what a chunk costs besides its own, so that a peer that sends single bytes does not make the bound meaningless. */
const CHUNK_OVERHEAD = 256;
const COMPACT_AT = 64;
