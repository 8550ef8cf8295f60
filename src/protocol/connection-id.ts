import { equalBytes } from './bytes.ts';
import type { Hmac } from './handshake.ts';
import { CHECK_END, hasCheck, type IdCheck, idCheck, writeCheck } from './id-check.ts';

/** Connection ids and the headers that carry them: RFC 8999 (what all versions of QUIC have in common) and docs/PROTOCOL.md. */

export const CONNECTION_ID = 16;
/** The first byte of a shard (shard.ts). */
export const SHARD_TYPE = 0x20;
/** The first byte of a report (delivery/report.ts). */
export const REPORT_TYPE = 0x21;
/** The first byte of a probe (delivery/probe.ts). */
export const PROBE_TYPE = 0x22;
/** The first byte of a parity shard (delivery/parity-shard.ts). */
export const PARITY_TYPE = 0x23;

export type PacketForm = 'long' | 'short' | 'shard' | 'report' | 'probe' | 'parity' | 'other';

/** What a datagram is by its first byte. One with QUIC's fixed bit (0x40) clear is never QUIC v1 (RFC 9000 §17.2, RFC 9443). */
export function packetForm(firstByte: number): PacketForm {
  if (firstByte === SHARD_TYPE) return 'shard';
  if (firstByte === REPORT_TYPE) return 'report';
  if (firstByte === PROBE_TYPE) return 'probe';
  if (firstByte === PARITY_TYPE) return 'parity';
  if ((firstByte & 0x40) === 0) return 'other';
  return (firstByte & 0x80) === 0 ? 'short' : 'long';
}

/** The destination connection id of a packet or shard in `bytes[offset … offset + length)`, as a view; null when it is too short or neither. */
export function destinationId(bytes: Uint8Array, offset: number, length: number): Uint8Array | null {
  if (length < 1) return null;
  const form = packetForm(bytes[offset]!);
  if (form === 'other') return null;
  const long = form === 'long';
  const at = long ? 6 : 1;
  if (length < at) return null;
  const idLength = long ? bytes[offset + 5]! : CONNECTION_ID;
  if (idLength > MAX_CONNECTION_ID || length < at + idLength) return null;
  return bytes.subarray(offset + at, offset + at + idLength);
}

/** Issues connection ids that this server recognises as its own after a restart, and the reset tokens that go with them. */
export class ConnectionIdIssuer {
  readonly #hmac: Hmac;
  readonly #nodeKey: Uint8Array;
  /** What all ids that it issues have, and others seldom (id-check.ts). */
  readonly check: IdCheck;

  constructor(hmac: Hmac, nodeKey: Uint8Array) {
    this.#hmac = hmac;
    this.#nodeKey = nodeKey;
    this.check = idCheck(hmac(nodeKey, CHECK_LABEL));
  }

  /** `random` is 8 fresh random bytes. */
  issue(random: Uint8Array): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(CONNECTION_ID);
    id.set(random);
    writeCheck(this.check, id);
    id.set(this.#hmac(this.#nodeKey, CID_LABEL, random).subarray(0, CONNECTION_ID - CHECK_END), CHECK_END);
    return id;
  }

  isOwn(id: Uint8Array): boolean {
    if (id.length !== CONNECTION_ID || !hasCheck(this.check, id)) return false;
    return equalBytes(id, this.issue(id.subarray(0, RANDOM_PART)));
  }

  /** 16 bytes. */
  resetToken(id: Uint8Array): Uint8Array {
    return this.#hmac(this.#nodeKey, RESET_LABEL, id).subarray(0, 16);
  }
}

/** The packet that ends a connection its sender no longer knows (RFC 9000 §10.3): `length` random bytes that end with the token. */
export function statelessReset(random: Uint8Array, token: Uint8Array): Uint8Array<ArrayBuffer> {
  const packet = Uint8Array.from(random);
  packet[0] = (packet[0]! & 0x3f) | 0x40;
  packet.set(token, packet.length - token.length);
  return packet;
}

/** Takes the same time whichever byte differs (RFC 9000 §10.3.1). */
export function endsWithToken(bytes: Uint8Array, offset: number, length: number, token: Uint8Array): boolean {
  if (length < MIN_STATELESS_RESET) return false;
  const at = offset + length - token.length;
  let difference = 0;
  for (let i = 0; i < token.length; i++) difference |= bytes[at + i]! ^ token[i]!;
  return difference === 0;
}

/**
 * Who gets a packet: connections by their connection ids. Looks an id up by the number its first six bytes make, because a number can be had
 * from a packet without allocating; ids that share it are told apart by comparing all bytes.
 */
export class ConnectionIdRouter<T> {
  readonly #routes = new Map<number, Route<T>[]>();
  #size = 0;

  /** How many ids there are. */
  get size(): number {
    return this.#size;
  }

  add(id: Uint8Array, target: T): void {
    const routes = this.#routes.get(numberOf(id));
    const route = { id: Uint8Array.from(id), target };
    if (routes === undefined) this.#routes.set(numberOf(id), [route]);
    else routes.push(route);
    this.#size++;
  }

  delete(id: Uint8Array): void {
    const number = numberOf(id);
    const routes = this.#routes.get(number);
    const index = routes?.findIndex((route) => equalBytes(route.id, id)) ?? -1;
    if (routes === undefined || index < 0) return;
    routes.splice(index, 1);
    if (routes.length === 0) this.#routes.delete(number);
    this.#size--;
  }

  find(id: Uint8Array): T | undefined {
    return this.findAt(id, 0, id.length);
  }

  /** The same for an id in `bytes[offset … offset + length)`, without making a view of it: this is done for each datagram. */
  findAt(bytes: Uint8Array, offset: number, length: number): T | undefined {
    const routes = this.#routes.get(numberOf(bytes, offset, length));
    if (routes === undefined) return undefined;
    for (const { id, target } of routes) if (id.length === length && standsAt(id, bytes, offset)) return target;
    return undefined;
  }
}

interface Route<T> {
  readonly id: Uint8Array;
  readonly target: T;
}

function numberOf(bytes: Uint8Array, offset = 0, length = bytes.length): number {
  let number = 0;
  for (let i = 0; i < 6; i++) number = number * 256 + (i < length ? bytes[offset + i]! : 0);
  return number;
}

/** Ids are no secret from whoever sends a packet with one, so this may stop at the first difference. */
function standsAt(id: Uint8Array, bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < id.length; i++) if (bytes[offset + i] !== id[i]) return false;
  return true;
}

const encoder = new TextEncoder();
const CHECK_LABEL = encoder.encode('check');
const CID_LABEL = encoder.encode('cid');
const RESET_LABEL = encoder.encode('reset');
const RANDOM_PART = 8;
/** RFC 9000 §17.2. */
export const MAX_CONNECTION_ID = 20;
/** RFC 9000 §10.3: at least 21 bytes, or it could not be a packet. */
export const MIN_STATELESS_RESET = 21;
