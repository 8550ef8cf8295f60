/**
 * Every failure qtunnel reports is a `QtunnelError` with one of these codes. The list is closed: docs/ERRORS.md has a line for
 * each, with what the user can do about it, and a test holds the two against each other.
 */
export const ERROR_CODES = [
  // The user's input
  'USAGE',
  'CONFIG_INVALID',
  // This machine
  'LISTEN_FAILED',
  'FILE_UNREADABLE',
  'FILE_UNWRITABLE',
  'FILE_EXISTS',
  'CERT_INVALID',
  'CERT_KEY_MISMATCH',
  'CERT_EXPIRED',
  'SECRET_INVALID',
  'QUIC_UNAVAILABLE',
  // The way to the peer
  'NAME_NOT_FOUND',
  'LINK_REFUSED',
  'LINK_TIMEOUT',
  'LINK_LOST',
  'LINK_CLOSED',
  // Who the peer is
  'AUTH_REJECTED',
  'AUTH_SERVER',
  'CERT_UNTRUSTED',
  'CERT_CHANGED',
  'PIN_MISMATCH',
  // What the peer says
  'VERSION_MISMATCH',
  'PROTOCOL_VIOLATION',
  'SERVER_BUSY',
  // One connection
  'STREAM_RESET',
  'DIAL_REFUSED',
  'DIAL_UNREACHABLE',
  'DIAL_TIMEOUT',
  'DIAL_NAME_NOT_FOUND',
  'STREAM_LIMIT',
  'BACKEND_UNKNOWN',
  // A hub's public ports, and its agents
  'PORT_TAKEN',
  'PORT_OUTSIDE',
  'MAPPING_LOOPS',
  'TARGET_FORBIDDEN',
  'AGENT_REFUSED',
  // A hub's database and API
  'DATABASE_FAILED',
  'HUB_UNREACHABLE',
  'HUB_REFUSED',
  // The machine's service manager
  'SERVICE_FAILED',
  // Everything else
  'SHUTTING_DOWN',
  'ABORTED',
  'INTERNAL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** One sentence for a person in `message`, a stable `code` for a program, and in `cause` what led to it. */
export class QtunnelError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'QtunnelError';
    this.code = code;
  }
}

/** `error` itself when it is one of ours, otherwise wrapped: its place is a bug in qtunnel, so `INTERNAL`. */
export function asQtunnelError(error: unknown): QtunnelError {
  if (error instanceof QtunnelError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new QtunnelError('INTERNAL', `Something unexpected happened: ${message}`, { cause: error });
}
