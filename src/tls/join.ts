import { equalBytes } from '../protocol/bytes.ts';
import type { Hmac } from '../protocol/handshake.ts';
import { NONCE } from '../protocol/messages.ts';

/**
 * The nonce of a further connection's HELLO: `random (8 bytes) ‖ HMAC-SHA256(token, "join" ‖ random)[0..8]`. The token came to the client in
 * the WELCOME of the link's first connection, so a client that knows the secret and has seen a link id in a log cannot put streams on
 * somebody else's link.
 */
export function joinNonce(hmac: Hmac, token: Uint8Array, random: Uint8Array): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(NONCE);
  nonce.set(random.subarray(0, RANDOM_PART));
  nonce.set(hmac(token, LABEL, random.subarray(0, RANDOM_PART)).subarray(0, NONCE - RANDOM_PART), RANDOM_PART);
  return nonce;
}

export function isJoinNonce(hmac: Hmac, token: Uint8Array, nonce: Uint8Array): boolean {
  return equalBytes(nonce, joinNonce(hmac, token, nonce));
}

const LABEL = new TextEncoder().encode('join');
const RANDOM_PART = 8;
