/**
 * Memory of one size that is used again. Against a fresh buffer for each large DATA frame on its way to the kernel this takes 15 to 25 % off the sender's CPU
 * time (1.5 GB over loopback in 64 KiB frames: 0.84–0.95 s instead of 0.96–1.28 s).
 */
export class SlabPool {
  readonly #size: number;
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#free.pop() ?? (Buffer.allocUnsafeSlow(this.#size) as Uint8Array<ArrayBuffer>);
  }

  give(slab: Uint8Array<ArrayBuffer>): void {
    if (this.#free.length * this.#size < MAX_FREE) this.#free.push(slab);
  }
}

/** Bytes that one pool keeps. */
const MAX_FREE = 4 * 1024 * 1024;
