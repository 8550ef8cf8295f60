import net from 'node:net';
import { LARGE_SLAB, SLAB, WAITING } from './waiting.ts';

/**
 * Reads a TCP socket into one buffer that all sockets of the thread share, where Node would allocate 64 KiB for each read (measured: the garbage collector
 * then takes a quarter of a bulk transfer's CPU). What is read is passed on before anybody else reads.
 */
export class SocketReader {
  /** For `net.connect` and `net.Socket`. */
  readonly onread = { buffer: (): Uint8Array => this.#room, callback: (length: number): boolean => this.#handleRead(length) };
  /** Where the next read goes. Small at first, and while much waits: what a stream does not take of a read has to be kept. */
  #room: Uint8Array = SMALL;
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
    this.#room = length >= SMALL.length && WAITING.bytes < MUCH ? SHARED : SMALL;
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
 * Gives an accepted socket such a reader before it has read anything. Node offers that for sockets that connect only, so what its constructor would do is
 * done here; where Node's inside is not as expected, the socket stays as it is.
 */
export function adoptSocket(accepted: net.Socket): void {
  const inside = accepted as unknown as AcceptedSocket;
  const { kBuffer, kBufferGen, kBufferCb } = onreadKeys(accepted);
  if (kBuffer === undefined || kBufferGen === undefined || kBufferCb === undefined || accepted.readableLength > 0) return;
  if (inside._handle === null || typeof inside._handle?.useUserBuffer !== 'function') return;
  const reader = new SocketReader();
  inside[kBuffer] = SMALL;
  inside[kBufferGen] = reader.onread.buffer;
  inside[kBufferCb] = reader.onread.callback;
  inside._handle.useUserBuffer(SMALL);
  readers.set(accepted, reader);
}

/** The reader of a socket from one of the above; undefined for another. */
export function readerOf(socket: net.Socket): SocketReader | undefined {
  return readers.get(socket);
}

/** Where Node's sockets keep `onread`; all of them have the same keys. */
function onreadKeys(socket: net.Socket): OnreadKeys {
  return (keys ??= Object.fromEntries(Object.getOwnPropertySymbols(socket).map((symbol) => [symbol.description, symbol])));
}

type OnreadKeys = Partial<Record<'kBuffer' | 'kBufferGen' | 'kBufferCb', symbol>>;

interface AcceptedSocket {
  _handle: { useUserBuffer?: (buffer: Uint8Array) => void } | null;
  [key: symbol]: unknown;
}

const SHARED = Buffer.allocUnsafeSlow(LARGE_SLAB);
/** Enough for all that a small connection says at once. With 1,000 downloads of which each waits for room, 64 KiB each were 75 MB. */
const SMALL = SHARED.subarray(0, SLAB);
/** Bytes, in all sockets of the thread. */
const MUCH = 8 << 20;
const readers = new WeakMap<net.Socket, SocketReader>();
let keys: OnreadKeys | null = null;
