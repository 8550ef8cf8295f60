import { QtunnelError } from '../errors.ts';
import { ByteReader, writeVarint } from './bytes.ts';

/**
 * Datagrams of a stream travel in parts (docs/PROTOCOL.md, "Datagrams"), mostly in one:
 *
 *     +---------------+------------+----------+---------+---------
 *     | stream varint | number u16 | index u8 | last u8 | bytes …
 *     +---------------+------------+----------+---------+---------
 */
export class DatagramCutter {
  readonly #part: Uint8Array;
  #number = 0;

  /** `size` is the most bytes that a part has, its header among them; with 256 of them any datagram goes. */
  constructor(size: number) {
    this.#part = new Uint8Array(size);
  }

  /**
   * Hands the parts of a datagram to `send`, which copies each and says whether it took it. Returns whether all were taken; after one that was not, the others
   * are of no use.
   */
  cut(stream: number, datagram: Uint8Array, send: (part: Uint8Array) => boolean): boolean {
    const part = this.#part;
    const share = part.length - MAX_HEADER;
    const last = Math.max(0, Math.ceil(datagram.length / share) - 1);
    this.#number = (this.#number + 1) & 0xffff;
    const at = writeVarint(part, 0, stream);
    part[at] = this.#number >>> 8;
    part[at + 1] = this.#number;
    part[at + 3] = last;
    for (let index = 0; index <= last; index++) {
      const from = index * share;
      const n = Math.min(share, datagram.length - from);
      part[at + 2] = index;
      part.set(last === 0 ? datagram : datagram.subarray(from, from + n), at + FIXED);
      if (!send(part.subarray(0, at + FIXED + n))) return false;
    }
    return true;
  }
}

/** Puts the parts of datagrams together again. Holds at most `MOST_INCOMPLETE` that are not whole. */
export class DatagramJoiner {
  /** By number, oldest first. */
  readonly #incomplete = new Map<number, Incomplete>();
  readonly #sink: (stream: number, datagram: Uint8Array) => void;
  #dropped = 0;

  /** `sink` gets each datagram that is whole; the view is valid during the call only. */
  constructor(sink: (stream: number, datagram: Uint8Array) => void) {
    this.#sink = sink;
  }

  /** Datagrams that were given up because parts of them did not come, or did not fit together. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes a copy of a part. @throws QtunnelError `PROTOCOL_VIOLATION` when it does not parse. */
  handlePart(bytes: Uint8Array): void {
    const reader = new ByteReader(bytes);
    const stream = reader.varint();
    const number = (reader.u8() << 8) | reader.u8();
    const index = reader.u8();
    const last = reader.u8();
    if (index > last) throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer sent a part of a datagram that is not one.');
    const part = bytes.subarray(bytes.length - reader.remaining);
    if (last > 0) this.#add({ stream, number, index, last }, part);
    else if (part.length <= MAX_DATAGRAM) this.#sink(stream, part);
    else this.#dropped++;
  }

  /** The stream has ended: what is incomplete of it is of no use. */
  forget(stream: number): void {
    for (const [number, incomplete] of this.#incomplete) if (incomplete.stream === stream) this.#drop(number);
  }

  #add({ stream, number, index, last }: { stream: number; number: number; index: number; last: number }, part: Uint8Array): void {
    let incomplete = this.#incomplete.get(number);
    if (incomplete !== undefined && (incomplete.stream !== stream || incomplete.parts.length !== last + 1)) {
      this.#drop(number);
      incomplete = undefined;
    }
    incomplete ??= this.#begin(stream, number, last);
    // It came twice.
    if (incomplete.parts[index] !== null) return;
    incomplete.length += part.length;
    if (incomplete.length > MAX_DATAGRAM) return this.#drop(number);
    incomplete.parts[index] = Uint8Array.from(part);
    if (--incomplete.missing > 0) return;
    this.#incomplete.delete(number);
    this.#sink(stream, join(incomplete.parts));
  }

  #begin(stream: number, number: number, last: number): Incomplete {
    const [oldest] = this.#incomplete.keys();
    if (this.#incomplete.size >= MOST_INCOMPLETE) this.#drop(oldest!);
    const parts = Array.from({ length: last + 1 }, () => null);
    const incomplete = { stream, parts, missing: last + 1, length: 0 };
    this.#incomplete.set(number, incomplete);
    return incomplete;
  }

  #drop(number: number): void {
    this.#incomplete.delete(number);
    this.#dropped++;
  }
}

interface Incomplete {
  readonly stream: number;
  readonly parts: (Uint8Array | null)[];
  missing: number;
  /** Bytes of those that are here. */
  length: number;
}

function join(parts: readonly (Uint8Array | null)[]): Uint8Array {
  let at = 0;
  for (const part of parts) {
    WHOLE.set(part!, at);
    at += part!.length;
  }
  return WHOLE.subarray(0, at);
}

/** Bytes: what UDP over IPv4 carries at most. */
export const MAX_DATAGRAM = 65_507;
/** Bytes behind the stream's number, and of the whole header at most. */
const FIXED = 4;
const MAX_HEADER = 8 + FIXED;
/** Datagrams, a mebibyte in all at most: more wait for parts only where parts are lost. */
const MOST_INCOMPLETE = 16;
const WHOLE = new Uint8Array(MAX_DATAGRAM);
