import net from 'node:net';

/**
 * Reads a TCP socket into one buffer that all sockets of the thread share, where Node would allocate 64 KiB for each read (measured: the garbage collector
 * then takes a quarter of a bulk transfer's CPU). What is read is passed on before anybody else reads.
 */
export class SocketReader {
  /** For `net.connect` and `net.Socket`. */
  readonly onread = { buffer: SHARED, callback: (length: number): boolean => this.#handleRead(length) };
  #sink: ((chunk: Uint8Array) => void) | null = null;
  /** What was read before there was a sink; at most one buffer full. */
  #early: Uint8Array | null = null;

  /** From now on each read goes to `sink`; the chunk is valid during the call only. The sink pauses and resumes the socket itself. */
  start(socket: net.Socket, sink: (chunk: Uint8Array) => void): void {
    this.#sink = sink;
    const early = this.#early;
    this.#early = null;
    if (early !== null) sink(early);
    if (early !== null && !socket.isPaused()) socket.resume();
  }

  #handleRead(length: number): boolean {
    const chunk = SHARED.subarray(0, length);
    if (this.#sink === null) {
      this.#early = Uint8Array.from(chunk);
      return false;
    }
    this.#sink(chunk);
    return true;
  }
}

/** Connects with a reader of the tunnel's own. */
export function connectSocket(options: net.TcpNetConnectOpts): net.Socket {
  const reader = new SocketReader();
  const socket = net.connect({ ...options, onread: reader.onread });
  readers.set(socket, reader);
  return socket;
}

/**
 * Gives an accepted socket such a reader. Node offers that for sockets that connect only, so the connection moves to a new socket; where Node's inside is
 * not as expected, the socket stays as it is.
 */
export function adoptSocket(accepted: net.Socket): net.Socket {
  const inside = accepted as unknown as AcceptedSocket;
  if (inside._handle === null || typeof inside._handle?.useUserBuffer !== 'function' || accepted.readableLength > 0)
    return accepted;
  const reader = new SocketReader();
  const options = { handle: inside._handle, allowHalfOpen: true, readable: true, writable: true, onread: reader.onread };
  const socket = new net.Socket(options as net.SocketConstructorOpts);
  // So that the server's count of its connections stays right.
  (socket as unknown as AcceptedSocket)._server = inside._server;
  inside._server = null;
  inside._handle = null;
  readers.set(socket, reader);
  return socket;
}

/** The reader of a socket from one of the above; undefined for another. */
export function readerOf(socket: net.Socket): SocketReader | undefined {
  return readers.get(socket);
}

interface AcceptedSocket {
  _handle: { useUserBuffer?: unknown } | null;
  _server: unknown;
}

const SHARED = Buffer.allocUnsafeSlow(65_536);
const readers = new WeakMap<net.Socket, SocketReader>();
