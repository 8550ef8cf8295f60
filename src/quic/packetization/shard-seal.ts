import { createCipheriv } from 'node:crypto';
import { isGenuineParity, signParity } from '../../protocol/delivery/parity-shard.ts';
import { ShardTags } from '../../protocol/delivery/shard-tag.ts';
import type { Hmac } from '../../protocol/handshake.ts';

/** The tags of shards and parity in one direction, so that what others make up is thrown away before anything is put together of it. */
export class ShardSeal {
  readonly #hmac: Hmac;
  readonly #tags: ShardTags;
  readonly #parityKey: Uint8Array;

  /** `key` is that of `shardKeys` for the direction. */
  constructor(key: Uint8Array, hmac: Hmac) {
    this.#hmac = hmac;
    // Blocks are encrypted one by one: ShardTags makes counter mode of it, and comes back for more.
    const cipher = createCipheriv('aes-128-ecb', key.subarray(0, AES_KEY), null).setAutoPadding(false);
    this.#tags = new ShardTags((blocks) => cipher.update(blocks));
    this.#parityKey = key.subarray(AES_KEY);
  }

  /** Writes the tag of shard `number`, which is the first `length` bytes of `datagram`. */
  signShard(datagram: Uint8Array, length: number, number: number): void {
    this.#tags.write(datagram, length, number);
  }

  /** Whether the peer has made the header of this shard; `near` is a number that its own is near to. */
  isShard(bytes: Uint8Array, offset: number, length: number, near: number): boolean {
    return this.#tags.isGenuine(bytes, offset, length, near);
  }

  signParity(datagram: Uint8Array): void {
    signParity(datagram, this.#hmac, this.#parityKey);
  }

  /** Whether the peer has made this parity shard. */
  isParity(bytes: Uint8Array, offset: number, length: number): boolean {
    return isGenuineParity(bytes, offset, length, this.#hmac, this.#parityKey);
  }
}

/** Bytes: AES-128, for what is worth nothing once the shard has come. */
const AES_KEY = 16;
