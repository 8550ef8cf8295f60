/**
 * Buffers for packets that wait, for missing shards or for being acknowledged, shared by all connections of a thread. Of two sizes: most packets are either
 * as large as they may be or fit one datagram.
 */
export class BlockPool {
  readonly #small: Uint8Array[] = [];
  readonly #large: Uint8Array[] = [];

  /** A buffer of at least `size` bytes, at most `MAX_PACKET`. */
  take(size: number): Uint8Array {
    if (size <= SMALL) return this.#small.pop() ?? new Uint8Array(SMALL);
    return this.#large.pop() ?? new Uint8Array(MAX_PACKET);
  }

  give(bytes: Uint8Array): void {
    const free = bytes.length === SMALL ? this.#small : this.#large;
    if (free.length < MAX_FREE) free.push(bytes);
  }
}

/** Bytes: larger than any packet that quiche makes. */
export const MAX_PACKET = 16_384;
/** Bytes: more than a datagram carries on most paths. */
const SMALL = 2_048;
/** Of each size: what a fast path has under way (4 MB) need not be allocated anew. */
const MAX_FREE = 256;
