import { createCipheriv, createDecipheriv } from 'node:crypto';
import { ByteReader } from '../protocol/bytes.ts';
import type { Hmac } from '../protocol/handshake.ts';
import type { LongHeader } from '../protocol/long-header.ts';

/**
 * What a client's first Initial carries of its TLS handshake, from the beginning as far as it goes; empty for any other packet. `header` is that of `bytes`. Whoever sees an Initial
 * can read it: its keys come from the destination id (RFC 9001 §5.2).
 */
export function readInitialCrypto(hmac: Hmac, bytes: Uint8Array, offset: number, header: LongHeader): Uint8Array {
  try {
    return cryptoOf(new ByteReader(decrypt(hmac, bytes, offset, header)));
  } catch {
    return new Uint8Array(0);
  }
}

/** RFC 9001 §5.3, §5.4. Throws when it does not decrypt. */
function decrypt(hmac: Hmac, bytes: Uint8Array, offset: number, { destination, numberAt, end }: LongHeader): Uint8Array {
  const secret = expand(hmac, hmac(SALT, destination), 'client in', 32);
  const mask = createCipheriv('aes-128-ecb', expand(hmac, secret, 'quic hp', 16), null).update(
    bytes.subarray(numberAt + SAMPLE_AT, numberAt + SAMPLE_AT + SAMPLE),
  );
  const first = bytes[offset]! ^ (mask[0]! & 0x0f);
  const numberLength = (first & 0x03) + 1;
  const head = Uint8Array.from(bytes.subarray(offset, numberAt + numberLength));
  head[0] = first;
  const nonce = expand(hmac, secret, 'quic iv', NONCE);
  for (let i = 0; i < numberLength; i++) {
    const byte = (head[numberAt - offset + i]! ^= mask[1 + i]!);
    nonce[NONCE - numberLength + i]! ^= byte;
  }
  const decipher = createDecipheriv('aes-128-gcm', expand(hmac, secret, 'quic key', 16), nonce);
  decipher.setAAD(head);
  decipher.setAuthTag(bytes.subarray(end - TAG, end));
  return Buffer.concat([decipher.update(bytes.subarray(numberAt + numberLength, end - TAG)), decipher.final()]);
}

/** HKDF-Expand-Label without a context (RFC 8446 §7.1), for at most 32 bytes. */
function expand(hmac: Hmac, secret: Uint8Array, label: string, length: number): Uint8Array {
  const name = encoder.encode(`tls13 ${label}`);
  return hmac(secret, Uint8Array.of(0, length, name.length, ...name, 0, 1)).slice(0, length);
}

/** The CRYPTO frames that follow one another (RFC 9000 §19). */
function cryptoOf(frames: ByteReader): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  while (frames.remaining > 0) {
    const type = frames.u8();
    if (type === PADDING || type === PING) continue;
    if (type !== CRYPTO || frames.varint() !== length) break;
    const part = frames.block();
    parts.push(part);
    length += part.length;
  }
  return Buffer.concat(parts);
}

const encoder = new TextEncoder();
/** RFC 9001 §5.2, for QUIC v1. */
const SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const SAMPLE_AT = 4;
const SAMPLE = 16;
const NONCE = 12;
const TAG = 16;
const PADDING = 0;
const PING = 1;
const CRYPTO = 6;
