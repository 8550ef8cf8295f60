/**
 * Why a stream was cut off, as it stands on the wire: the reason in the RESET frame, and the last byte of a QUIC stream
 * that was cut off (docs/PROTOCOL.md). A number that is not in the list reads as `RESET`.
 */
export const RESET_REASONS = {
  /** The TCP connection at the far end was reset. */
  RESET: 1,
  /** The backend refused the connection. */
  DIAL_REFUSED: 2,
  /** The backend did not answer within `-dial-timeout`. */
  DIAL_TIMEOUT: 3,
  /** No route to the backend, or its network is down. */
  DIAL_UNREACHABLE: 4,
  /** The backend's name does not resolve. */
  DIAL_NAME_NOT_FOUND: 5,
  /** The far end is at `-max-connections`. */
  LIMIT: 6,
  /** The far end is shutting down. */
  SHUTDOWN: 7,
  /** The link below the stream was lost. */
  LINK_LOST: 8,
  /** The peer broke the protocol on this stream. */
  PROTOCOL: 9,
  /** The far end is out of a resource (descriptors, memory). */
  RESOURCE: 10,
  /** The far end offers no backend of that name to this client. */
  NO_BACKEND: 11,
} as const;

export type ResetReason = keyof typeof RESET_REASONS;

const REASON_BY_NUMBER = new Map<number, ResetReason>(
  Object.entries(RESET_REASONS).map(([name, number]) => [number, name as ResetReason]),
);

/** The reason a number stands for; `RESET` for one this version does not know. */
export function resetReason(number: number): ResetReason {
  return REASON_BY_NUMBER.get(number) ?? 'RESET';
}
