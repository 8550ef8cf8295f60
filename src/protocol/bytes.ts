import { QtunnelError } from '../errors.ts';

/** Builds a message of a few fields. Grows as needed: for control messages, not for the data path. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(128);
  #length = 0;

  u8(value: number): this {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  /** RFC 9000 §16. `value` is an integer from 0 to 2^53 - 1. */
  varint(value: number): this {
    this.#reserve(8);
    this.#length = writeVarint(this.#bytes, this.#length, value);
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** A varint length and the bytes. */
  block(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes);
  }

  string(text: string): this {
    return this.block(ENCODER.encode(text));
  }

  /** What was written, as an array of its own. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(n: number): void {
    if (this.#length + n <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + n));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/**
 * Takes a message apart. Every method throws QtunnelError `PROTOCOL_VIOLATION` when the bytes end too early; nothing a peer sends makes it
 * read beyond them or allocate more than they hold.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#take(1)[0]!;
  }

  varint(): number {
    const first = this.u8();
    const more = (1 << (first >>> 6)) - 1;
    let value = first & 0x3f;
    for (const byte of this.#take(more)) value = value * 256 + byte;
    if (!Number.isSafeInteger(value)) throw new QtunnelError('PROTOCOL_VIOLATION', 'A number in a message is too large.');
    return value;
  }

  /** `n` bytes, copied. */
  raw(n: number): Uint8Array<ArrayBuffer> {
    // Not slice(): a Node Buffer's slice() is a view.
    return new Uint8Array(this.#take(n));
  }

  block(): Uint8Array<ArrayBuffer> {
    return this.raw(this.varint());
  }

  /** Control characters come out as spaces: what a peer says may end up in a log or on a terminal. */
  string(): string {
    return DECODER.decode(this.block()).replace(CONTROL_CHARACTERS, ' ');
  }

  #take(n: number): Uint8Array {
    if (n > this.remaining) throw new QtunnelError('PROTOCOL_VIOLATION', 'A message ends too early.');
    this.#at += n;
    return this.#bytes.subarray(this.#at - n, this.#at);
  }
}

/** RFC 9000 §16. `value` is an integer from 0 to 2^53 - 1; there is room for 8 bytes. Returns where it ends. */
export function writeVarint(into: Uint8Array, at: number, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new QtunnelError('INTERNAL', `Not a varint: ${value}.`);
  if (value < 2 ** 6) {
    into[at] = value;
    return at + 1;
  }
  if (value < 2 ** 14) {
    into[at] = 0x40 | (value >>> 8);
    into[at + 1] = value;
    return at + 2;
  }
  if (value < 2 ** 30) return writeU32(into, at, (0x80000000 | value) >>> 0);
  return writeU32(into, writeU32(into, at, (0xc0000000 | Math.floor(value / 2 ** 32)) >>> 0), value >>> 0);
}

function writeU32(into: Uint8Array, at: number, value: number): number {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
  return at + 4;
}

/** Hexadecimal digits of `bytes`, lower case. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

/** The bytes that `hex` (an even number of hexadecimal digits) stands for. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();
const CONTROL_CHARACTERS = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;
