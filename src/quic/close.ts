import type { Connection as QuicheConnection } from '@matrixai/quic/native/index.js';
import { type ErrorCode, QtunnelError } from '../errors.ts';

/** Application error codes of CONNECTION_CLOSE (docs/PROTOCOL.md, "QUIC"). */
export const CLOSE = { NONE: 0, AUTH: 1, VERSION: 2, BUSY: 3, PROTOCOL: 4, TIMEOUT: 5, SHUTDOWN: 6, INTERNAL: 7 } as const;
export type CloseCode = (typeof CLOSE)[keyof typeof CLOSE];

/** The CONNECTION_CLOSE code that goes with an error of this side. */
export function closeCodeFor(code: ErrorCode): CloseCode {
  return CODE_BY_ERROR[code] ?? CLOSE.NONE;
}

/** Why a connection that quiche calls draining or closed has ended, in words for the user. */
export function closeReason(native: QuicheConnection, established: boolean): QtunnelError {
  const peer = native.peerError();
  if (peer !== null) return peerClosed(peer.isApp, peer.errorCode, readable(peer.reason));
  const local = native.localError();
  if (local !== null) return transportError('This side', local.errorCode);
  if (!established) return new QtunnelError('LINK_TIMEOUT', 'The QUIC handshake was not completed in time.');
  return new QtunnelError('LINK_LOST', 'Nothing was heard from the peer for the idle timeout.');
}

/** The number in quiche's `StreamReset(n)` and `StreamStopped(n)`; -1 for its other errors. */
export function streamErrorCode(error: unknown): number {
  const match = /^Stream(?:Reset|Stopped)\((\d+)\)/.exec((error as Error).message);
  return match === null ? -1 : Number(match[1]);
}

function peerClosed(isApplication: boolean, code: number, reason: string): QtunnelError {
  if (!isApplication) return transportError('The peer', code);
  const error = ERROR_BY_CODE.get(code) ?? 'LINK_CLOSED';
  return new QtunnelError(error, reason === '' ? 'The peer closed the link.' : `The peer closed the link: ${reason}`);
}

function transportError(who: string, code: number): QtunnelError {
  if (code === NO_APPLICATION_PROTOCOL) {
    return new QtunnelError(
      'VERSION_MISMATCH',
      `${who} found no common protocol (ALPN): the other end is not qtunnel, or another version of it.`,
    );
  }
  const tls = code >= 0x100 && code < 0x200;
  const what = tls ? `a TLS alert (${code - 0x100})` : `QUIC error 0x${code.toString(16)}`;
  return new QtunnelError('PROTOCOL_VIOLATION', `${who} ended the connection with ${what}.`);
}

function readable(reason: Uint8Array): string {
  return Buffer.from(reason)
    .toString('utf8')
    .replaceAll(/\p{Cc}|\p{Cf}/gu, ' ')
    .slice(0, 300);
}

const CODE_BY_ERROR: Partial<Record<ErrorCode, CloseCode>> = {
  AUTH_REJECTED: CLOSE.AUTH,
  AUTH_SERVER: CLOSE.AUTH,
  CERT_UNTRUSTED: CLOSE.AUTH,
  CERT_CHANGED: CLOSE.AUTH,
  PIN_MISMATCH: CLOSE.AUTH,
  VERSION_MISMATCH: CLOSE.VERSION,
  SERVER_BUSY: CLOSE.BUSY,
  PROTOCOL_VIOLATION: CLOSE.PROTOCOL,
  LINK_TIMEOUT: CLOSE.TIMEOUT,
  SHUTTING_DOWN: CLOSE.SHUTDOWN,
  INTERNAL: CLOSE.INTERNAL,
};
const ERROR_BY_CODE = new Map<number, ErrorCode>([
  [CLOSE.AUTH, 'AUTH_REJECTED'],
  [CLOSE.VERSION, 'VERSION_MISMATCH'],
  [CLOSE.BUSY, 'SERVER_BUSY'],
  [CLOSE.PROTOCOL, 'PROTOCOL_VIOLATION'],
  [CLOSE.TIMEOUT, 'LINK_TIMEOUT'],
  [CLOSE.SHUTDOWN, 'SHUTTING_DOWN'],
  [CLOSE.INTERNAL, 'LINK_LOST'],
]);
/** TLS alert 120 as a QUIC error (RFC 9001 §8.1). */
const NO_APPLICATION_PROTOCOL = 0x178;
