import type dgram from 'node:dgram';

/** Node has no public way to the descriptor of a UDP socket; null where its inside is not as expected. */
export function descriptorOf(socket: dgram.Socket): number | null {
  const fd = handleOf(socket)?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : null;
}

/** Has Node leave what comes in the socket, for somebody else to read. Returns false where its inside is not as expected. */
export function stopReading(socket: dgram.Socket): boolean {
  const handle = handleOf(socket);
  if (typeof handle?.recvStop !== 'function') return false;
  handle.recvStop();
  return true;
}

/** The socket as Node's inside holds it; undefined where that is not as expected. */
export function handleOf(socket: dgram.Socket): { fd?: unknown; recvStop?: () => void } | undefined {
  const key = Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === 'state symbol');
  return key === undefined
    ? undefined
    : (socket as unknown as Record<symbol, { handle?: ReturnType<typeof handleOf> }>)[key]!.handle;
}
