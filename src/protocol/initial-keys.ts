import type { Hmac } from './handshake.ts';
import type { IdCheck } from './id-check.ts';
import { CLOCK_WINDOW, InitialProof, PROOF_NONCE } from './initial-proof.ts';

/**
 * With which of a server's keys an Initial may have been made. A stranger's packet must not cost a computation for each of thousands of clients, so a client with a
 * name says in two bytes of its nonce which keys are to be tried (docs/PROTOCOL.md, "Authenticated Initials"); those bytes change every ten minutes.
 */
export class InitialKeys {
  readonly #hmac: Hmac;
  readonly #own: readonly InitialProof[];
  readonly #named: readonly { readonly key: Uint8Array; readonly proof: InitialProof }[];
  /** By epoch, then by hint; of the present epochs only. */
  readonly #tables = new Map<number, Map<number, InitialProof[]>>();

  /** `own` are tried always, `named` where the hint fits; all of them stretched. */
  constructor(hmac: Hmac, own: readonly Uint8Array[], named: readonly Uint8Array[]) {
    this.#hmac = hmac;
    this.#own = own.map((key) => new InitialProof(hmac, key));
    this.#named = named.map((key) => ({ key, proof: new InitialProof(hmac, key) }));
  }

  /** What the ids of all clients have that may come; null when there are so many keys that to look for it is not worth while. */
  get checks(): readonly IdCheck[] | null {
    return this.#own.length + this.#named.length > MOST_CHECKS
      ? null
      : [...this.#own, ...this.#named.map(({ proof }) => proof)].map(({ check }) => check);
  }

  /** The proofs that are worth trying for a client's id; `now` is seconds since 1970. */
  candidates(id: Uint8Array, now: number): readonly InitialProof[] {
    if (this.#named.length === 0 || id.length < HINT) return this.#own;
    const [earlier, later] = [epochOf(now - CLOCK_WINDOW), epochOf(now + CLOCK_WINDOW)];
    for (const epoch of this.#tables.keys()) if (epoch !== earlier && epoch !== later) this.#tables.delete(epoch);
    const hint = (id[0]! << 8) | id[1]!;
    const [found, also] = [this.#table(earlier).get(hint), this.#table(later).get(hint)];
    // A stranger's fits nobody's, and is to cost little.
    if (found === undefined && also === undefined) return this.#own;
    return [...this.#own, ...new Set([...(found ?? []), ...(also ?? [])])];
  }

  #table(epoch: number): ReadonlyMap<number, InitialProof[]> {
    const known = this.#tables.get(epoch);
    if (known !== undefined) return known;
    const table = new Map<number, InitialProof[]>();
    for (const { key, proof } of this.#named) {
      const [high = 0, low = 0] = hintOf(this.#hmac, key, epoch);
      const hint = (high << 8) | low;
      table.set(hint, [...(table.get(hint) ?? []), proof]);
    }
    this.#tables.set(epoch, table);
    return table;
  }
}

/** The nonce of a client with a name, from as many random bytes; `time` is seconds since 1970. */
export function hintedNonce(hmac: Hmac, key: Uint8Array, random: Uint8Array, time: number): Uint8Array<ArrayBuffer> {
  const nonce = Uint8Array.from(random.subarray(0, PROOF_NONCE));
  nonce.set(hintOf(hmac, key, epochOf(time)));
  return nonce;
}

function hintOf(hmac: Hmac, key: Uint8Array, epoch: number): Uint8Array {
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, epoch);
  return hmac(key, HINT_LABEL, number).subarray(0, HINT);
}

function epochOf(time: number): number {
  return Math.floor(time / (2 * CLOCK_WINDOW));
}

/** A stranger's datagram is compared with each of them. */
const MOST_CHECKS = 4;
const HINT = 2;
const HINT_LABEL = new TextEncoder().encode('qtunnel/1 hint\0');
