import { createCipheriv, createHmac } from 'node:crypto';
import { ByteWriter } from '../../src/protocol/bytes.ts';

/**
 * An Initial that any QUIC v1 server can decrypt (RFC 9001 §5.2), filled with a piece of a ClientHello whose beginning never comes: what CVE-2024-1765 is about. 1,200
 * bytes, as all ids and numbers have one length.
 */
export function cryptoInitial(destination: Uint8Array, source: Uint8Array, number: number): Uint8Array {
  const secret = expand(hmac(SALT, destination), 'client in', 32);
  const [key, iv, mask] = [expand(secret, 'quic key', 16), expand(secret, 'quic iv', 12), expand(secret, 'quic hp', 16)];
  const ids = [destination.length, ...destination, source.length, ...source];
  const front = Buffer.from([0xc3, 0, 0, 0, 1, ...ids, 0, 0x40 | (BODY >>> 8), BODY & 0xff, 0, 0, 0, 0]);
  front.writeUInt32BE(number, front.length - NUMBER);
  const data = Buffer.alloc(BODY - NUMBER - TAG - CRYPTO_HEADER, 1);
  const offset = 1 + number * data.length;
  const frame = new ByteWriter()
    .u8(6)
    .raw(eightBytes(offset))
    .raw(Uint8Array.of(0x40 | (data.length >>> 8), data.length))
    .raw(data)
    .finish();
  iv.writeUInt32BE((iv.readUInt32BE(8) ^ number) >>> 0, 8);
  const cipher = createCipheriv('aes-128-gcm', key, iv).setAAD(front);
  const body = Buffer.concat([cipher.update(frame), cipher.final(), cipher.getAuthTag()]);
  const protection = createCipheriv('aes-128-ecb', mask, null).update(body.subarray(0, 16));
  front[0]! ^= protection[0]! & 0x0f;
  for (let i = 0; i < NUMBER; i++) front[front.length - NUMBER + i]! ^= protection[1 + i]!;
  return Buffer.concat([front, body]);
}

function expand(secret: Buffer, label: string, length: number): Buffer {
  const info = Buffer.from([0, length, 6 + label.length, ...Buffer.from(`tls13 ${label}`), 0, 1]);
  return Buffer.from(hmac(secret, info).subarray(0, length));
}

function hmac(key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

/** A varint of RFC 9000 §16 in its longest form. */
function eightBytes(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value) | (3n << 62n));
  return bytes;
}

const SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const NUMBER = 4;
const TAG = 16;
const CRYPTO_HEADER = 1 + 8 + 2;
/** What follows the length: 1,200 bytes less the header with two ids of 16 bytes. */
const BODY = 1200 - (1 + 4 + 17 + 17 + 1 + 2);
