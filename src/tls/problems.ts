import { QtunnelError } from '../errors.ts';
import { isOutOfDescriptors } from '../resources/descriptors.ts';

/** Why no TLS connection came about, in the words of the client's user. `error.cause` is Node's error. */
export function connectProblem(error: QtunnelError, peer: string): QtunnelError {
  const { cause } = error;
  const code = codeOf(cause);
  const make = (...[name, message]: ConstructorParameters<typeof QtunnelError>): QtunnelError =>
    new QtunnelError(name, message, { cause });
  if (code === 'ECONNREFUSED') return make('LINK_REFUSED', `Nothing listens on ${peer} (TCP); is the server running?`);
  if (code === 'ETIMEDOUT') return make('LINK_TIMEOUT', `${peer} does not answer (TCP).`);
  if (isOutOfDescriptors(cause))
    return make('LINK_LOST', `No connection to ${peer} can be made: out of file descriptors (${code}); raise "ulimit -n".`);
  if (UNREACHABLE.has(code)) return make('LINK_LOST', `There is no way to ${peer} (${code}).`);
  if (code === NO_COMMON_ALPN) return notQtunnel(peer, cause);
  if (isTlsError(code))
    return make('PROTOCOL_VIOLATION', `${peer} does not speak TLS 1.3 as a qtunnel server does (${code}); is it one?`);
  return make('LINK_LOST', `${peer} ended the connection during the TLS handshake (${code}).`);
}

/** The server speaks TLS and nothing of ours. */
export function notQtunnel(peer: string, cause?: unknown): QtunnelError {
  const message = `${peer} speaks TLS but not qtunnel's protocol (ALPN): it is no qtunnel server, or another version.`;
  return new QtunnelError('PROTOCOL_VIOLATION', message, { cause });
}

/** The server's answer to HELLO is to hang up; `hasSecret` is about this side. */
export function closedAfterHello(hasSecret: boolean): QtunnelError {
  const likely = hasSecret ? 'its secret differs' : 'it wants a secret';
  const message = `The server closed the connection after the hello: most likely ${likely}; give both the same -secret.`;
  return new QtunnelError('AUTH_REJECTED', message);
}

/** Why a stranger's TLS handshake with the server failed. */
export function acceptProblem(cause: unknown): QtunnelError {
  const code = codeOf(cause);
  const make = (...[name, message]: ConstructorParameters<typeof QtunnelError>): QtunnelError =>
    new QtunnelError(name, message, { cause });
  if (code === 'ERR_SSL_HTTP_REQUEST') return make('PROTOCOL_VIOLATION', 'Plain HTTP came where TLS belongs.');
  if (code === 'ERR_SSL_NO_APPLICATION_PROTOCOL') return noCommonProtocol(cause);
  if (code === 'ERR_SSL_UNSUPPORTED_PROTOCOL') return make('PROTOCOL_VIOLATION', 'The peer does not speak TLS 1.3.');
  if (isTlsError(code)) return make('PROTOCOL_VIOLATION', `What came is not a TLS handshake, or a broken one (${code}).`);
  return make('LINK_LOST', `The peer went away during the TLS handshake (${code}).`);
}

/** A client that speaks TLS and nothing of ours. */
export function noCommonProtocol(cause?: unknown): QtunnelError {
  return new QtunnelError('PROTOCOL_VIOLATION', 'The peer speaks TLS but not qtunnel’s protocol (ALPN).', { cause });
}

function codeOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException | undefined)?.code ?? 'closed';
}

function isTlsError(code: string): boolean {
  return code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || code.startsWith('ERR_OSSL') || code === 'EPROTO';
}

const UNREACHABLE: ReadonlySet<string> = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EADDRNOTAVAIL']);
const NO_COMMON_ALPN = 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL';
