import { CONNECTION_ID, PROBE_TYPE } from '../connection-id.ts';
import type { Hmac } from '../handshake.ts';

/**
 * A probe of the path's MTU and the answer to it (docs/PROTOCOL.md, "Probes"):
 *
 *      0       1                   17         18          20          24         40
 *      +-------+-------------------+----------+-----------+-----------+----------+---------------
 *      | 0x22  | connection id (16)| answer u8| size u16  | number u32| tag (16) | zeros to size …
 *      +-------+-------------------+----------+-----------+-----------+----------+---------------
 *
 * Authenticated as reports are, with the same keys.
 */
export interface Probe {
  readonly isAnswer: boolean;
  /** Bytes of UDP payload that the probe has, or had. */
  readonly size: number;
  readonly number: number;
}

/** Writes it to the beginning of `into`, an answer in `PROBE` bytes, a probe with zeros up to its size; returns the length. */
export function writeProbe(probe: Probe, peerId: Uint8Array, hmac: Hmac, key: Uint8Array, into: Uint8Array): number {
  const length = probe.isAnswer ? PROBE : probe.size;
  into.fill(0, 0, length);
  into[0] = PROBE_TYPE;
  into.set(peerId, 1);
  into[KIND] = probe.isAnswer ? 1 : 0;
  into[KIND + 1] = probe.size >>> 8;
  into[KIND + 2] = probe.size;
  for (let i = 0; i < 4; i++) into[NUMBER + i] = probe.number >>> (24 - 8 * i);
  into.set(hmac(key, into.subarray(0, TAG_AT)).subarray(0, TAG), TAG_AT);
  return length;
}

/** The probe in `bytes[offset … offset + length)`; null for what is none or was not written by the peer. */
export function readProbe(bytes: Uint8Array, offset: number, length: number, hmac: Hmac, key: Uint8Array): Probe | null {
  if (length < PROBE) return null;
  const probe = bytes.subarray(offset, offset + length);
  const tag = hmac(key, probe.subarray(0, TAG_AT));
  let difference = 0;
  for (let i = 0; i < TAG; i++) difference |= tag[i]! ^ probe[TAG_AT + i]!;
  const isAnswer = probe[KIND] === 1;
  const size = (probe[KIND + 1]! << 8) | probe[KIND + 2]!;
  if (difference !== 0 || (!isAnswer && size !== length)) return null;
  let number = 0;
  for (let i = 0; i < 4; i++) number = number * 256 + probe[NUMBER + i]!;
  return { isAnswer, size, number };
}

const KIND = 1 + CONNECTION_ID;
const NUMBER = KIND + 3;
const TAG_AT = NUMBER + 4;
const TAG = 16;
/** Bytes of an answer, and the least of a probe. */
export const PROBE = TAG_AT + TAG;
