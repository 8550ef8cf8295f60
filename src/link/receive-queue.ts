import { SlabPool } from './slabs.ts';

/**
 * Bytes that have arrived for one stream and wait to be read, copied into slabs that are used again.
 *
 *     slabs:  [ read | rest ][ rest ][ rest |     ]
 *                    #offset                #filled
 */
export class ReceiveQueue {
  readonly #slabs: Uint8Array<ArrayBuffer>[] = [];
  /** Bytes of the first slab that were read, and of the last one that are in use. */
  #offset = 0;
  #filled = 0;
  #length = 0;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Copies `bytes`. */
  push(bytes: Uint8Array): void {
    this.#length += bytes.length;
    for (let at = 0; at < bytes.length;) {
      if (this.#slabs.length === 0 || this.#filled === SLAB) this.#addSlab();
      const n = Math.min(bytes.length - at, SLAB - this.#filled);
      this.#slabs.at(-1)!.set(n === bytes.length ? bytes : bytes.subarray(at, at + n), this.#filled);
      this.#filled += n;
      at += n;
    }
  }

  /** Fills `into` as far as the bytes go and returns how many those were. */
  read(into: Uint8Array): number {
    const wanted = Math.min(into.length, this.#length);
    for (let at = 0; at < wanted;) {
      const n = Math.min(wanted - at, (this.#slabs.length === 1 ? this.#filled : SLAB) - this.#offset);
      into.set(this.#slabs[0]!.subarray(this.#offset, this.#offset + n), at);
      this.#offset += n;
      at += n;
      if (this.#offset === SLAB) this.#dropSlab();
    }
    this.#length -= wanted;
    if (this.#length === 0) this.clear();
    return wanted;
  }

  clear(): void {
    while (this.#slabs.length > 0) this.#dropSlab();
    this.#length = 0;
  }

  #addSlab(): void {
    this.#slabs.push(POOL.take());
    this.#filled = 0;
  }

  #dropSlab(): void {
    POOL.give(this.#slabs.shift()!);
    this.#offset = 0;
  }
}

/** Bytes: a TLS record's worth, which is what a stream holds at least when its reader does not read. */
const SLAB = 16_384;
const POOL = new SlabPool(SLAB);
