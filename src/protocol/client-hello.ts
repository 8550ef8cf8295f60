import { ByteReader } from './bytes.ts';

/** What a ClientHello says of the session that it wants to resume. */
export type Resumption =
  /** It resumes none. */
  | { readonly kind: 'none' }
  /** The first `TICKET_NAME` bytes of the ticket, which no other ticket begins with. */
  | { readonly kind: 'ticket'; readonly name: Uint8Array }
  /** It is no ClientHello, or ends before that shows. */
  | { readonly kind: 'unknown' };

/** Reads a ClientHello, of which the end may be missing (RFC 8446 §4.1.2, §4.2.11). */
export function readResumption(hello: Uint8Array): Resumption {
  try {
    return resumptionOf(new ByteReader(hello));
  } catch {
    return UNKNOWN;
  }
}

function resumptionOf(reader: ByteReader): Resumption {
  if (reader.u8() !== CLIENT_HELLO) return UNKNOWN;
  reader.raw(LENGTH + VERSION + RANDOM);
  // Session id, cipher suites, compression methods.
  reader.raw(reader.u8());
  reader.raw(u16(reader));
  reader.raw(reader.u8());
  for (let left = u16(reader); left > 0;) {
    const [type, length] = [u16(reader), u16(reader)];
    if (type === PRE_SHARED_KEY) return { kind: 'ticket', name: firstIdentity(reader) };
    reader.raw(length);
    left -= EXTENSION_HEADER + length;
  }
  return { kind: 'none' };
}

/** A server looks at no other. */
function firstIdentity(reader: ByteReader): Uint8Array {
  u16(reader);
  return reader.raw(Math.min(u16(reader), TICKET_NAME));
}

function u16(reader: ByteReader): number {
  return reader.u8() * 256 + reader.u8();
}

const UNKNOWN: Resumption = { kind: 'unknown' };
const CLIENT_HELLO = 1;
const LENGTH = 3;
const VERSION = 2;
const RANDOM = 32;
const EXTENSION_HEADER = 4;
const PRE_SHARED_KEY = 41;
/** Bytes: BoringSSL's tickets begin with the name of their key (16) and a random initialisation vector (16). */
export const TICKET_NAME = 32;
