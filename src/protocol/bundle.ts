/**
 * Several small packets in one block (docs/PROTOCOL.md, "Blocks"): what a datagram costs, all the way, it costs once for all of them.
 *
 *     0      1            3
 *     +------+------------+----------+------------+----------+---
 *     | 0x00 | length u16 | packet … | length u16 | packet … | …
 *     +------+------------+----------+------------+----------+---
 *
 * The first byte has QUIC's fixed bit clear, which every packet has set (RFC 9000 §17).
 */
export class Bundle {
  readonly #bytes = new Uint8Array(LARGEST);
  #length = HEADER;
  #packets = 0;

  get isEmpty(): boolean {
    return this.#packets === 0;
  }

  /** Takes a copy of the packet, unless the block would become longer than `limit` bytes; returns whether it did. */
  add(packet: Uint8Array, limit: number): boolean {
    const at = this.#length;
    const end = at + LENGTH + packet.length;
    if (end > Math.min(limit, LARGEST) || this.#packets === MOST) return false;
    this.#bytes[at] = packet.length >>> 8;
    this.#bytes[at + 1] = packet.length;
    this.#bytes.set(packet, at + LENGTH);
    this.#length = end;
    this.#packets++;
    return true;
  }

  /** The block, which is the packet itself when there is only one; valid until the next `add`. */
  take(): Uint8Array {
    const block = this.#bytes.subarray(this.#packets === 1 ? HEADER + LENGTH : 0, this.#length);
    this.#length = HEADER;
    this.#packets = 0;
    return block;
  }
}

/** Hands on each packet of a block; the views are valid during the call only. What is no bundle and no packet ends it. */
export function unbundle(block: Uint8Array, sink: (packet: Uint8Array) => void): void {
  if ((block[0]! & FIXED_BIT) !== 0) return sink(block);
  let at = HEADER;
  for (let left = MOST; left > 0 && at + LENGTH < block.length; left--) {
    const from = at + LENGTH;
    at = from + ((block[at]! << 8) | block[at + 1]!);
    if (at === from || at > block.length) return;
    sink(block.subarray(from, at));
  }
}

const HEADER = 1;
const LENGTH = 2;
const FIXED_BIT = 0x40;
/** Packets: forged blocks must not cost the receiver much more than forged packets do. */
const MOST = 64;
/** Bytes: as much as a packet may have. */
const LARGEST = 16_384;
