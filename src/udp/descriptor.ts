import type dgram from 'node:dgram';

/** Node has no public way to the descriptor of a UDP socket; null where its inside is not as expected. */
export function descriptorOf(socket: dgram.Socket): number | null {
  const key = Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === 'state symbol');
  if (key === undefined) return null;
  const { handle } = (socket as unknown as Record<symbol, { handle?: { fd?: unknown } }>)[key]!;
  return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : null;
}
