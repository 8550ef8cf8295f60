import type { Socket } from 'node:net';

/**
 * Ends a TCP connection by a reset, whatever it is doing. Between the last write and the FIN that follows it, for a turn of the event loop, libuv refuses to
 * (`uv_tcp_close_reset` gives EINVAL while a shutdown is under way), and Node then takes the handle for closed: the descriptor stays open for ever and
 * the peer hears nothing. So the FIN goes first.
 */
export function resetSocket(socket: Socket): void {
  if (isShuttingDown(socket)) socket.on('error', () => {}).once('finish', () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}

function isShuttingDown(socket: Socket): boolean {
  return socket.writableEnded && !socket.writableFinished && socket.writableLength === 0 && !socket.destroyed;
}
