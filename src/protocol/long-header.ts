import { MAX_CONNECTION_ID } from './connection-id.ts';

/** What the QUIC v1 packets of one datagram have in common; views of the datagram. */
export interface LongHeader {
  readonly destination: Uint8Array;
  readonly source: Uint8Array;
  /** Whether the first packet is an Initial, and then its token. */
  readonly token: Uint8Array | null;
  /** Where the first packet's number begins, and where the packet ends, in the bytes that it was read from. */
  readonly numberAt: number;
  readonly end: number;
}

/**
 * Reads all packets that a client has put into the datagram `bytes[offset … offset + length)`, of which the first has a long header (RFC 9000 §12.2, §17.2). Null
 * unless each is an Initial, 0-RTT or Handshake packet of QUIC v1 with the same two connection ids and within the datagram; a packet with a short
 * header may be the last, and zeros may follow, with which quiche fills a datagram up.
 */
export function readLongHeaders(bytes: Uint8Array, offset: number, length: number): LongHeader | null {
  const end = offset + length;
  const first = readPacket(bytes, offset, end);
  if (first === null) return null;
  let at = first.end;
  for (let packets = 1; at < end; packets++) {
    if (bytes[at] === PADDING) return isPadding(bytes, at, end) ? first : null;
    if (packets === MAX_PACKETS) return null;
    if ((bytes[at]! & FORM_BITS) === SHORT) return standsAt(first.destination, bytes, at + 1, end) ? first : null;
    const next = readPacket(bytes, at, end);
    if (next === null || !sameBytes(next.destination, first.destination) || !sameBytes(next.source, first.source)) return null;
    at = next.end;
  }
  return first;
}

function readPacket(bytes: Uint8Array, start: number, end: number): LongHeader | null {
  if (end - start < LEAST_HEADER || (bytes[start]! & FORM_BITS) !== LONG || !isVersion1(bytes, start + 1)) return null;
  const type = (bytes[start]! >>> 4) & 3;
  if (type === RETRY) return null;
  const destination = readBlock(bytes, start + 6, bytes[start + 5]!, end);
  if (destination === null || destination.length > MAX_CONNECTION_ID) return null;
  const sourceAt = start + 6 + destination.length;
  if (sourceAt >= end) return null;
  const source = readBlock(bytes, sourceAt + 1, bytes[sourceAt]!, end);
  if (source === null || source.length > MAX_CONNECTION_ID) return null;
  let at = sourceAt + 1 + source.length;
  let token: Uint8Array | null = null;
  if (type === INITIAL) {
    const size = readVarint(bytes, at, end);
    token = readBlock(bytes, at + varintLength(bytes, at), size, end);
    if (token === null) return null;
    at += varintLength(bytes, at) + size;
  }
  const rest = readVarint(bytes, at, end);
  const numberAt = at + varintLength(bytes, at);
  const packetEnd = numberAt + rest;
  // NaN, where a number does not fit, is not in the datagram either.
  if (rest < LEAST_REST || !(packetEnd <= end)) return null;
  return { destination, source, token, numberAt, end: packetEnd };
}

function isVersion1(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0 && bytes[at + 1] === 0 && bytes[at + 2] === 0 && bytes[at + 3] === 1;
}

function isPadding(bytes: Uint8Array, at: number, end: number): boolean {
  for (let i = at; i < end; i++) if (bytes[i] !== PADDING) return false;
  return true;
}

function readBlock(bytes: Uint8Array, at: number, length: number, end: number): Uint8Array | null {
  return at + length <= end ? bytes.subarray(at, at + length) : null;
}

/** RFC 9000 §16; NaN when it reaches beyond `end`. */
function readVarint(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end || at + varintLength(bytes, at) > end) return Number.NaN;
  let value = bytes[at]! & 0x3f;
  for (let i = 1; i < varintLength(bytes, at); i++) value = value * 256 + bytes[at + i]!;
  return value;
}

function varintLength(bytes: Uint8Array, at: number): number {
  return 1 << ((bytes[at] ?? 0) >>> 6);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && standsAt(a, b, 0, b.length);
}

/** Ids are no secret from whoever sends them, so this may stop at the first difference. */
function standsAt(id: Uint8Array, bytes: Uint8Array, at: number, end: number): boolean {
  if (at + id.length > end) return false;
  for (let i = 0; i < id.length; i++) if (bytes[at + i] !== id[i]) return false;
  return true;
}

const PADDING = 0;
const FORM_BITS = 0xc0;
const LONG = 0xc0;
const SHORT = 0x40;
const INITIAL = 0;
const RETRY = 3;
/** First byte, version and the two lengths. */
const LEAST_HEADER = 7;
/** A packet number and the sample that header protection takes (RFC 9001 §5.4.2). */
const LEAST_REST = 20;
/** One of each kind, and the repetition of each. */
const MAX_PACKETS = 8;
