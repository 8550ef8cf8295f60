import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

/**
 * What the two ends of a bench say to each other, on TCP connections that the tunnel carries:
 *
 *     near ──▶ "qtunnel-bench 1 WORD\n"
 *     hello    far ──▶ one line of JSON; the connection stays open as long as the near end measures
 *     sink     near ──▶ bytes      far ──▶ a Report at once and every 100 ms
 *     source   far ──▶ bytes, until the near end closes
 *     echo     near ──▶ bytes      far ──▶ the same, and the end after the last
 *
 * On the direct port, where anybody may come, this stands before it: far ──▶ 32 random bytes, near ──▶ their HMAC-SHA256 with the key that
 * the answer to a hello has told through the tunnel, and whose connection is still open.
 */
const SERVICES = ['hello', 'sink', 'source', 'echo'] as const;
export type Service = (typeof SERVICES)[number];

export function requestLine(service: Service): string {
  return `${PREFIX}${service}\n`;
}

/** The service that a line without its end asks for; undefined when it is no request. */
export function parseRequest(line: string): Service | undefined {
  return SERVICES.find((service) => line === PREFIX + service);
}

/** What the far end tells of itself. */
export interface Hello {
  readonly version: string;
  /** Where plain TCP is taken, and the key for it in hexadecimal digits. */
  readonly direct: { readonly port: number; readonly key: string } | null;
}

export function helloLine(hello: Hello): string {
  return `${JSON.stringify({ qtunnelBench: 1, ...hello })}\n`;
}

/** Undefined when what answers is no bench. */
export function parseHello(line: string): Hello | undefined {
  try {
    return HELLO.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}

/** How much a sink has taken. */
export interface Report {
  /** Milliseconds on the far end's clock. */
  readonly time: number;
  readonly bytes: number;
}

export function encodeReport({ time, bytes }: Report): Uint8Array {
  const encoded = new Uint8Array(REPORT_LENGTH);
  const view = new DataView(encoded.buffer);
  view.setFloat64(0, time);
  view.setFloat64(8, bytes);
  return encoded;
}

/** @param encoded `REPORT_LENGTH` bytes. */
export function decodeReport(encoded: Uint8Array): Report {
  const view = new DataView(encoded.buffer, encoded.byteOffset, REPORT_LENGTH);
  return { time: view.getFloat64(0), bytes: view.getFloat64(8) };
}

export function newNonce(): Uint8Array {
  return randomBytes(NONCE_LENGTH);
}

export function newKey(): string {
  return randomBytes(NONCE_LENGTH).toString('hex');
}

/** What proves the knowledge of a key: 32 bytes. */
export function proofOf(key: string, nonce: Uint8Array): Uint8Array {
  return createHmac('sha256', Buffer.from(key, 'hex')).update(nonce).digest();
}

export function isProof(proof: Uint8Array, keys: Iterable<string>, nonce: Uint8Array): boolean {
  return [...keys].some((key) => timingSafeEqual(proof, proofOf(key, nonce)));
}

export const REPORT_LENGTH = 16;
export const NONCE_LENGTH = 32;
export const PROOF_LENGTH = 32;
export const LONGEST_REQUEST = 64;
export const LONGEST_HELLO = 1024;

const PREFIX = 'qtunnel-bench 1 ';
const HELLO = z.object({
  qtunnelBench: z.literal(1),
  version: z.string().max(64),
  direct: z.object({ port: z.int().min(1).max(65_535), key: z.string().regex(/^[0-9a-f]{64}$/) }).nullable(),
});
