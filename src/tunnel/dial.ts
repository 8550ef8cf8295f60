import type net from 'node:net';
import type { Address } from '../config/settings.ts';
import type { ErrorCode } from '../errors.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { setPatientTimer } from '../link/patient-timer.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { connectSocket } from './socket-reader.ts';

export interface Dial {
  readonly socket: net.Socket;
  /** Gives up; `done` is not called any more. */
  cancel(): void;
}

/**
 * Connects to a backend over TCP; its name is resolved anew, and all its addresses are tried (RFC 8305). `done` is called once: with null when
 * the socket is connected, or with QtunnelError `DIAL_…` or `SERVER_BUSY` (out of descriptors) and the socket destroyed. `lookup` is what names are
 * resolved with, in the place of the system's; a QtunnelError of its own is handed on.
 */
export function dial(
  address: Address,
  timeout: number,
  done: (error: QtunnelError | null) => void,
  lookup?: net.LookupFunction,
): Dial {
  const { host, port } = address;
  const socket = connectSocket({ host, port, allowHalfOpen: true, noDelay: true, ...(lookup !== undefined && { lookup }) });
  const timer = setPatientTimer(() => finish(timedOut(address, timeout)), timeout);
  const finish = (error: QtunnelError | null): void => {
    timer.cancel();
    socket.off('connect', onConnect).off('error', onError);
    if (error !== null) socket.on('error', ignore).destroy();
    done(error);
  };
  const onConnect = (): void => finish(null);
  const onError = (error: NodeJS.ErrnoException): void => finish(dialError(address, error));
  socket.on('connect', onConnect).on('error', onError);
  return {
    socket,
    cancel() {
      timer.cancel();
      socket.off('connect', onConnect).off('error', onError).on('error', ignore).destroy();
    },
  };
}

/** The reason that travels to the client. */
export function dialResetReason(code: ErrorCode): ResetReason {
  return REASONS[code] ?? 'RESET';
}

function timedOut(address: Address, timeout: number): QtunnelError {
  return new QtunnelError('DIAL_TIMEOUT', `The backend ${formatAddress(address)} did not answer within ${timeout} ms.`);
}

function dialError(address: Address, error: NodeJS.ErrnoException | QtunnelError): QtunnelError {
  if (error instanceof QtunnelError) return error;
  const backend = formatAddress(address);
  // When all addresses of a name fail, the reasons are inside.
  const code = error.code ?? (error as unknown as AggregateError).errors?.[0]?.code ?? 'unknown';
  const [kind, what] = MEANINGS[code] ?? ['DIAL_UNREACHABLE', 'cannot be reached'];
  return new QtunnelError(kind, `The backend ${backend} ${what} (${code}).`, { cause: error });
}

function ignore(): void {
  // The socket is gone; what it still has to say does not matter.
}

const MEANINGS: Record<string, [ErrorCode, string]> = {
  ECONNREFUSED: ['DIAL_REFUSED', 'refused the connection: nothing listens there'],
  ECONNRESET: ['DIAL_REFUSED', 'reset the connection while it was being made'],
  ETIMEDOUT: ['DIAL_TIMEOUT', 'did not answer'],
  EHOSTUNREACH: ['DIAL_UNREACHABLE', 'cannot be reached'],
  ENETUNREACH: ['DIAL_UNREACHABLE', 'is on a network that cannot be reached'],
  ENOTFOUND: ['DIAL_NAME_NOT_FOUND', 'has a name that does not exist'],
  EAI_AGAIN: ['DIAL_NAME_NOT_FOUND', 'has a name that cannot be resolved now'],
  EMFILE: ['SERVER_BUSY', 'cannot be dialled: this process is out of file descriptors'],
  ENFILE: ['SERVER_BUSY', 'cannot be dialled: this machine is out of file descriptors'],
  EADDRNOTAVAIL: ['SERVER_BUSY', 'cannot be dialled: this machine is out of local ports'],
};
const REASONS: Partial<Record<ErrorCode, ResetReason>> = {
  DIAL_REFUSED: 'DIAL_REFUSED',
  DIAL_TIMEOUT: 'DIAL_TIMEOUT',
  DIAL_UNREACHABLE: 'DIAL_UNREACHABLE',
  DIAL_NAME_NOT_FOUND: 'DIAL_NAME_NOT_FOUND',
  SERVER_BUSY: 'RESOURCE',
  TARGET_FORBIDDEN: 'NO_BACKEND',
};
