import net from 'node:net';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { type Listen, OWN_PORTS } from '../ports/ports.ts';
import type { RateLimitedLog } from '../observe/rate-limit.ts';

/**
 * A TCP server for applications, whose connections may be half closed. `choice` is how a user chooses the address.
 * @throws QtunnelError `LISTEN_FAILED` with what to do.
 */
export async function listenTcp(
  address: Address,
  log: RateLimitedLog,
  onConnection: (socket: net.Socket) => void,
  listen: Listen = OWN_PORTS.listen,
  choice = '-listen',
): Promise<net.Server> {
  const server = net.createServer(
    { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE },
    onConnection,
  );
  try {
    await listen(server, { ...address, backlog: BACKLOG });
    // The system may not say; whoever asks later counts on an answer.
    server.address();
  } catch (error) {
    server.close();
    throw listenFailed(address, error as NodeJS.ErrnoException, choice);
  }
  // Out of descriptors, for example: those connections are lost, the listener is not.
  server.on('error', (error) => {
    log.warn('accept', { event: 'accept_failed', reason: error.message }, 'a connection could not be accepted');
  });
  return server;
}

function listenFailed(address: Address, error: NodeJS.ErrnoException, choice: string): QtunnelError {
  const where = `TCP port ${address.port}${address.host === '' ? '' : ` of ${address.host}`}`;
  const why = WHY[error.code ?? ''];
  const reason =
    why === undefined ? error.message : `${why}; ${error.code === 'EADDRINUSE' ? 'stop that or ' : ''}choose another ${choice}`;
  return new QtunnelError('LISTEN_FAILED', `Cannot listen on ${where}: ${reason}.`, { cause: error });
}

const WHY: Record<string, string> = {
  EADDRINUSE: 'another program uses it',
  EACCES: 'ports below 1024 need root or CAP_NET_BIND_SERVICE',
  EADDRNOTAVAIL: 'this machine does not have that address',
  ENOTFOUND: 'that name does not resolve',
};
/** Milliseconds of silence after which the kernel asks whether the application's machine is still there. */
export const KEEPALIVE = 60_000;
/** The kernel cuts it to net.core.somaxconn. */
const BACKLOG = 4096;
