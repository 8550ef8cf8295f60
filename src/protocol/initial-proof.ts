import { equalBytes } from './bytes.ts';
import { CONNECTION_ID } from './connection-id.ts';
import type { Hmac } from './handshake.ts';
import { CHECK_END, hasCheck, type IdCheck, idCheck, writeCheck } from './id-check.ts';

/**
 * A client's source connection id as a proof that it knows the secret (docs/PROTOCOL.md, "Authenticated Initials"). To who does not know the secret it is 16
 * random bytes:
 *
 *      0          4                 8         10        16
 *     +----------+-----------------+---------+---------+
 *     | nonce    | time ⊕ mask     | check   | tag     |
 *     +----------+-----------------+---------+---------+
 */
export class InitialProof {
  readonly #hmac: Hmac;
  readonly #key: Uint8Array;
  /** What all these ids have, and others seldom (id-check.ts). */
  readonly check: IdCheck;

  /** `secret` is the stretched secret, which proofs of the greeting are made with; here only a key derived from it is used. */
  constructor(hmac: Hmac, secret: Uint8Array) {
    this.#hmac = hmac;
    this.#key = hmac(secret, KEY_LABEL);
    this.check = idCheck(hmac(this.#key, CHECK_LABEL));
  }

  /** An id for a new connection. `nonce` is 4 fresh random bytes, `time` seconds since 1970 by the client's clock. */
  make(nonce: Uint8Array, time: number): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(CONNECTION_ID);
    id.set(nonce);
    new DataView(id.buffer).setUint32(TIME_AT, (time ^ this.#mask(nonce)) >>> 0);
    writeCheck(this.check, id);
    id.set(this.#tag(id.subarray(0, TAG_AT)), TAG_AT);
    return id;
  }

  /** The time in an id that was made with the same secret, in seconds since 1970; null for any other id. */
  read(id: Uint8Array): number | null {
    // The check first: a stranger's id seldom costs more.
    if (id.length !== CONNECTION_ID || !hasCheck(this.check, id)) return null;
    if (!equalBytes(id.subarray(TAG_AT), this.#tag(id.subarray(0, TAG_AT)))) return null;
    const masked = new DataView(id.buffer, id.byteOffset).getUint32(TIME_AT);
    return (masked ^ this.#mask(id.subarray(0, TIME_AT))) >>> 0;
  }

  #mask(nonce: Uint8Array): number {
    const mask = this.#hmac(this.#key, MASK_LABEL, nonce);
    return new DataView(mask.buffer, mask.byteOffset).getUint32(0);
  }

  #tag(front: Uint8Array): Uint8Array {
    return this.#hmac(this.#key, TAG_LABEL, front).subarray(0, CONNECTION_ID - TAG_AT);
  }
}

export type InitialVerdict =
  | { readonly kind: 'stranger' | 'replay' | 'full' }
  /** `time` is what the proof carries. */
  | { readonly kind: 'fresh'; readonly time: number }
  /** By how many seconds the client's clock is ahead; negative when it is behind. */
  | { readonly kind: 'stale'; readonly ahead: number };

/**
 * Which proofs may still open a connection: those whose time is within `CLOCK_WINDOW` of this side's, each once. Remembers them by the time they carry, in two
 * generations: an id is forgotten only when its time would be refused.
 */
export class InitialGate {
  /** Which ids, as the number in the first six bytes of their tags, have been admitted; by generation. */
  readonly #admitted = new Map<number, Set<number>>();

  /** How many proofs are remembered. */
  get size(): number {
    let size = 0;
    for (const ids of this.#admitted.values()) size += ids.size;
    return size;
  }

  /** Judges the source connection id of an Initial that belongs to no connection. `now` is seconds since 1970; `proofs` are of the secrets that are valid. */
  judge(id: Uint8Array, proofs: readonly InitialProof[], now: number): InitialVerdict {
    const time = timeOf(id, proofs);
    if (time === null) return { kind: 'stranger' };
    if (Math.abs(time - now) > CLOCK_WINDOW) return { kind: 'stale', ahead: Math.round(time - now) };
    this.#forget(now);
    const generation = this.#admitted.get(generationOf(time));
    if (generation?.has(nameOf(id)) === true) return { kind: 'replay' };
    return generation !== undefined && generation.size >= MOST_ADMITTED ? { kind: 'full' } : { kind: 'fresh', time };
  }

  /** From now on the id, which was judged fresh, is a replay. */
  admit(id: Uint8Array, time: number): void {
    const number = generationOf(time);
    const generation = this.#admitted.get(number) ?? new Set();
    generation.add(nameOf(id));
    this.#admitted.set(number, generation);
  }

  #forget(now: number): void {
    const [oldest, newest] = [generationOf(now - CLOCK_WINDOW), generationOf(now + CLOCK_WINDOW)];
    for (const generation of this.#admitted.keys())
      if (generation < oldest || generation > newest) this.#admitted.delete(generation);
  }
}

function timeOf(id: Uint8Array, proofs: readonly InitialProof[]): number | null {
  for (const proof of proofs) {
    const time = proof.read(id);
    if (time !== null) return time;
  }
  return null;
}

function generationOf(time: number): number {
  return Math.floor(time / (2 * CLOCK_WINDOW));
}

function nameOf(id: Uint8Array): number {
  let name = 0;
  for (let i = TAG_AT; i < TAG_AT + 6; i++) name = name * 256 + id[i]!;
  return name;
}

/** Seconds by which the clocks of client and server may differ, as for Kerberos (RFC 4120 §8.2): more than machines without NTP drift in weeks. */
export const CLOCK_WINDOW = 300;
/** Proofs remembered in each generation, about 3 MB: 100 connections a second from those who know the secret. */
export const MOST_ADMITTED = 65_536;
export const PROOF_NONCE = 4;
const TIME_AT = PROOF_NONCE;
const TAG_AT = CHECK_END;
const encoder = new TextEncoder();
const KEY_LABEL = encoder.encode('qtunnel/1 initial\0');
const MASK_LABEL = encoder.encode('time\0');
const CHECK_LABEL = encoder.encode('check\0');
const TAG_LABEL = encoder.encode('tag\0');
