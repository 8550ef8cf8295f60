import { CONNECTION_ID } from '../connection-id.ts';
import { SHARD_HEADER, SHARD_TAG_AT } from '../shard.ts';
import { MAX_AHEAD } from './arrivals.ts';
import { expand } from './serial.ts';

/** Encrypts blocks of 16 bytes, each by itself, with AES-128 (ECB) under one key. What it returns is the caller's. */
export type BlockCipher = (blocks: Uint8Array) => Uint8Array;

/**
 * The tags of the shards in one direction (docs/PROTOCOL.md, "Blocks"): what a shard's header says, and how long it is, by a hash with secret factors, under a pad for its number:
 *
 *     tag = hash(count, index, length, size) ⊕ pad(number)
 *
 * Who has seen tags knows no other (Wegman and Carter): each guess is right once in 2³². The payload is not part of it, because that would cost more than all else that is done for a
 * byte; so a forged shard has to have the number and the header of a genuine one that has not come yet. Costs some nanoseconds, and 2 KB for every 512 numbers in use, 16 KB at most.
 */
export class ShardTags {
  readonly #cipher: BlockCipher;
  readonly #factors: DataView;
  /** Pads by the page that they are on; pages take each other's place. */
  readonly #pages: (DataView | null)[] = Array.from({ length: PAGES }, () => null);
  readonly #numbers = new Float64Array(PAGES).fill(-1);

  /** `cipher` has the first half of a direction's key (`shardKeys`). */
  constructor(cipher: BlockCipher) {
    this.#cipher = cipher;
    this.#factors = this.#keystream(FACTORS_PAGE, FACTORS_BLOCKS);
  }

  /** Writes the tag of shard `number`, which is the first `length` bytes of `datagram`. */
  write(datagram: Uint8Array, length: number, number: number): void {
    const tag = this.#tag(datagram, 0, length, number);
    for (let i = 0; i < 4; i++) datagram[SHARD_TAG_AT + i] = tag >>> (24 - 8 * i);
  }

  /** Whether the peer has made the header of the shard in `bytes[offset … offset + length)`, which is expected to have a number near to `near`. */
  isGenuine(bytes: Uint8Array, offset: number, length: number, near: number): boolean {
    if (length <= SHARD_HEADER) return false;
    const at = offset + FIRST_AT;
    const first = expand((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!, near);
    const number = first + bytes[offset + INDEX_AT]!;
    // Pads of other numbers are not worth making.
    if (number < 0 || Math.abs(number - near) > MAX_AHEAD) return false;
    const tagAt = offset + SHARD_TAG_AT;
    const tag = (bytes[tagAt]! << 24) | (bytes[tagAt + 1]! << 16) | (bytes[tagAt + 2]! << 8) | bytes[tagAt + 3]!;
    return tag === this.#tag(bytes, offset, length, number);
  }

  #tag(bytes: Uint8Array, offset: number, length: number, number: number): number {
    const at = offset + COUNT_AT;
    const place = (bytes[at]! << 8) | bytes[at + 1]!;
    const total = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    const size = length - SHARD_HEADER;
    return ((this.#hash(0, place, total, size) << 16) | this.#hash(16, place, total, size)) ^ this.#pad(number);
  }

  /** 16 bits of three numbers of 16 bits, by multiply-shift for vectors: two different inputs give any two outputs equally often (Thorup, "High Speed Hashing", 3.4). */
  #hash(at: number, a: number, b: number, c: number): number {
    const factors = this.#factors;
    const products = Math.imul(factors.getInt32(at), a) + Math.imul(factors.getInt32(at + 4), b);
    return ((products + Math.imul(factors.getInt32(at + 8), c) + factors.getInt32(at + 12)) | 0) >>> 16;
  }

  #pad(number: number): number {
    const page = Math.floor(number / PADS);
    const slot = page % PAGES;
    let pads = this.#pages[slot]!;
    if (this.#numbers[slot] !== page) {
      pads = this.#keystream(page, PADS / PADS_PER_BLOCK);
      this.#pages[slot] = pads;
      this.#numbers[slot] = page;
    }
    return pads!.getInt32(4 * (number % PADS));
  }

  /** AES in counter mode: the encryption of `page` (8 bytes) ‖ counter (8 bytes). */
  #keystream(page: number, blocks: number): DataView {
    const counters = new DataView(new ArrayBuffer(16 * blocks));
    for (let i = 0; i < blocks; i++) {
      counters.setUint32(16 * i, Math.floor(page / 2 ** 32));
      counters.setUint32(16 * i + 4, page % 2 ** 32);
      counters.setUint32(16 * i + 12, i);
    }
    const stream = this.#cipher(new Uint8Array(counters.buffer));
    return new DataView(stream.buffer, stream.byteOffset, stream.length);
  }
}

const COUNT_AT = 1 + CONNECTION_ID;
const INDEX_AT = COUNT_AT + 1;
const FIRST_AT = COUNT_AT + 4;
/** Numbers that share a page of pads. */
const PADS = 512;
const PADS_PER_BLOCK = 4;
const PAGES = 8;
/** Beyond all pages of pads: eight factors. */
const FACTORS_PAGE = 2 ** 48;
const FACTORS_BLOCKS = 2;
