import type { Socket } from 'node:net';

/**
 * Finds out that a socket was reset while nobody reads from it: libuv tells of a reset only to those who read, but a write fails, even of nothing. A
 * connection that is held back because its stream takes no more would otherwise stay for as long as the other end does not read.
 */
export function probeWhilePaused(socket: Socket): void {
  paused.add(socket);
  timer ??= setInterval(probeAll, INTERVAL).unref();
}

export function stopProbing(socket: Socket): void {
  paused.delete(socket);
}

function probeAll(): void {
  for (const socket of paused) if (socket.writable && socket.writableLength === 0) socket.write(NOTHING);
  if (paused.size > 0 || timer === null) return;
  clearInterval(timer);
  timer = null;
}

const paused = new Set<Socket>();
let timer: NodeJS.Timeout | null = null;
/** Milliseconds. */
const INTERVAL = 1_000;
export const NOTHING = new Uint8Array(0);
