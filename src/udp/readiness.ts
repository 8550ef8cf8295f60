import { closeSync } from 'node:fs';
import type { Libc } from './libc.ts';

/** Tells when a descriptor can be read, without reading it. */
export interface Readiness {
  close(): void;
}

/**
 * Calls `onReadable` in each round of the event loop in which `fd` has something to read or an error to tell of, until it is closed. Node has no public way to
 * wait for a descriptor; its TCP handles can be made to: given a buffer without room they call back instead of reading. Null where Node's inside is not as
 * expected.
 */
export function watchReadable(fd: number, libc: Libc, onReadable: () => void): Readiness | null {
  const TcpHandle = tcpHandle();
  if (TcpHandle === null) return null;
  // A descriptor can be in the event loop once only, and closing the handle closes its descriptor.
  const own = libc.duplicate(fd);
  if (own < 0) return null;
  const handle = new TcpHandle(TYPE_SOCKET);
  if (handle.open(own) !== 0) {
    // Nobody else has it yet.
    if (handle.fd < 0) closeSync(own);
    handle.close();
    return null;
  }
  handle.useUserBuffer(NO_ROOM);
  handle.onread = onReadable;
  if (handle.readStart() !== 0) {
    handle.close();
    return null;
  }
  return handle;
}

interface TcpHandle extends Readiness {
  onread: () => void;
  /** -1 without one. */
  readonly fd: number;
  open(fd: number): number;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
}

function tcpHandle(): (new (type: number) => TcpHandle) | null {
  try {
    const { binding } = process as unknown as { binding(name: string): { TCP?: unknown } };
    const { TCP } = binding.call(process, 'tcp_wrap');
    return typeof TCP === 'function' ? (TCP as new (type: number) => TcpHandle) : null;
  } catch {
    return null;
  }
}

const NO_ROOM = new Uint8Array(0);
const TYPE_SOCKET = 0;
