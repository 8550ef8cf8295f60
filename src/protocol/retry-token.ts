import { equalBytes } from './bytes.ts';
import type { Hmac } from './handshake.ts';

/**
 * What a server gives a client with Retry and wants to see in its next Initial: that it is where it says (RFC 9000 §8.1.2). Opaque to the client:
 *
 *      0          4                          length − 16
 *     +----------+--------------------------+------------+
 *     | time     | original destination id  | tag        |
 *     +----------+--------------------------+------------+
 */
export class RetryTokens {
  readonly #hmac: Hmac;
  readonly #key: Uint8Array;

  /** `key` is 32 random bytes that nobody else has. */
  constructor(hmac: Hmac, key: Uint8Array) {
    this.#hmac = hmac;
    this.#key = key;
  }

  /** For a client at `peer` (`host:port`), which is to use `newId` for the server; `now` is in milliseconds. */
  make(peer: string, originalId: Uint8Array, newId: Uint8Array, now: number): Uint8Array<ArrayBuffer> {
    const token = new Uint8Array(ID_AT + originalId.length + TAG);
    new DataView(token.buffer).setUint32(0, secondsOf(now));
    token.set(originalId, ID_AT);
    token.set(this.#tag(token.subarray(0, -TAG), peer, newId), token.length - TAG);
    return token;
  }

  /** The original destination id, if the token was made for this client and id no more than `LIFETIME` ago; else null. */
  read(token: Uint8Array, peer: string, newId: Uint8Array, now: number): Uint8Array | null {
    if (token.length < ID_AT + TAG) return null;
    const front = token.subarray(0, -TAG);
    if (!equalBytes(token.subarray(-TAG), this.#tag(front, peer, newId))) return null;
    const age = secondsOf(now) - new DataView(token.buffer, token.byteOffset).getUint32(0);
    return age <= LIFETIME ? Uint8Array.from(front.subarray(ID_AT)) : null;
  }

  #tag(front: Uint8Array, peer: string, newId: Uint8Array): Uint8Array {
    return this.#hmac(this.#key, Uint8Array.of(front.length, newId.length), front, newId, encoder.encode(peer)).subarray(0, TAG);
  }
}

function secondsOf(milliseconds: number): number {
  return Math.floor(milliseconds / 1000) >>> 0;
}

const ID_AT = 4;
const TAG = 16;
/** Seconds: as long as a client tries. */
const LIFETIME = 10;
const encoder = new TextEncoder();
