import type { TLSSocket } from 'node:tls';

/**
 * Makes a TLS socket read into one buffer that all of the thread share, where Node would allocate one for each record. `sink` gets the bytes of a read, valid
 * during the call only. Node offers that (`onread`) for sockets that connect only, so this reaches for what it would set; where Node's inside is not as
 * expected, nothing changes. The socket's 'data' still has what was read before.
 */
export function readIntoOwnBuffer(socket: TLSSocket, sink: (bytes: Uint8Array) => void): void {
  const inside = socket as unknown as Record<symbol, unknown> & {
    _handle: { useUserBuffer?: (buffer: Uint8Array) => void } | null;
  };
  const { _handle: handle } = inside;
  const [buffer, callback] = [symbolOf(socket, 'kBuffer'), symbolOf(socket, 'kBufferCb')];
  if (typeof handle?.useUserBuffer !== 'function' || buffer === undefined || callback === undefined) return;
  inside[buffer] = SHARED;
  inside[callback] = (length: number): boolean => {
    sink(SHARED.subarray(0, length));
    return true;
  };
  handle.useUserBuffer(SHARED);
}

function symbolOf(socket: TLSSocket, name: string): symbol | undefined {
  return Object.getOwnPropertySymbols(socket).find(({ description }) => description === name);
}

/** A TLS record's worth: Node decrypts one after another. */
const SHARED = Buffer.allocUnsafeSlow(16_384);
