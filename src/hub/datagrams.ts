import { createSocket, type Socket } from 'node:dgram';
import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { END, type LinkStream, type StreamHandler } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';

/** One end of a conversation over UDP. */
export interface DatagramEnd {
  /** Sends it whole, or drops it when there is no room. */
  send(datagram: Uint8Array): void;
  /** Nothing is sent or handed on any more; `reason` is null when nobody has said anything for long. */
  close(reason: ResetReason | null, message: string): void;
}

export interface DatagramHandler {
  /** Valid during the call only. */
  onDatagram(datagram: Uint8Array): void;
  /** The other side has closed it, or it cannot go on. Called once, last, and not after `close`. */
  onClose(reason: ResetReason | null, message: string): void;
}

/** The datagrams of a stream that carries nothing else. */
export class StreamDatagrams implements DatagramEnd, StreamHandler {
  readonly #stream: LinkStream;
  readonly #handler: DatagramHandler;
  #over = false;

  constructor(stream: LinkStream, handler: DatagramHandler) {
    this.#stream = stream;
    this.#handler = handler;
    stream.handler = this;
  }

  send(datagram: Uint8Array): void {
    if (!this.#over) this.#stream.sendDatagram?.(datagram);
  }

  close(reason: ResetReason | null, message: string): void {
    if (this.#over) return;
    this.#over = true;
    if (reason === null) this.#stream.end();
    else this.#stream.reset(reason, message);
  }

  onDatagram(datagram: Uint8Array): void {
    if (!this.#over) this.#handler.onDatagram(datagram);
  }

  /** Bytes mean nothing here. The end has to be read, for the stream to be over. */
  onReadable(): void {
    let n;
    do n = this.#stream.read(READ);
    while (n > 0);
    if (n !== END || this.#over) return;
    this.#stream.end();
    this.#finish(null, '');
  }

  onWritable(): void {
    // Nothing is written here.
  }

  onReset(reason: ResetReason, message: string): void {
    this.#finish(reason, message);
  }

  #finish(reason: ResetReason | null, message: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#handler.onClose(reason, message);
  }
}

/** A UDP socket of its own that speaks with one target. */
export class UdpTarget implements DatagramEnd {
  readonly #target: Address;
  readonly #handler: DatagramHandler;
  #socket: Socket | null = null;
  /** What came before the name was resolved. */
  #early: Uint8Array[] = [];
  #isConnected = false;
  #over = false;

  /** `lookup` as for `net.connect`; it is asked for names only. */
  constructor(target: Address, handler: DatagramHandler, lookup: LookupFunction = systemLookup as LookupFunction) {
    this.#target = target;
    this.#handler = handler;
    lookup(target.host, { all: false, family: 0 }, (error, address, family) => {
      if (this.#over) return;
      if (error !== null || typeof address !== 'string') return this.#fail(error as NodeJS.ErrnoException);
      this.#connect(address, family === 6);
    });
  }

  send(datagram: Uint8Array): void {
    if (this.#over) return;
    // dgram keeps what it sends until it is sent.
    const copy = Uint8Array.from(datagram);
    if (this.#isConnected) this.#socket?.send(copy);
    else if (this.#early.length < MOST_EARLY) this.#early.push(copy);
  }

  close(): void {
    this.#over = true;
    this.#early = [];
    this.#socket?.close();
    this.#socket = null;
  }

  #connect(address: string, isIpv6: boolean): void {
    const socket = createSocket(isIpv6 ? 'udp6' : 'udp4');
    this.#socket = socket;
    socket.on('message', (datagram) => this.#handler.onDatagram(datagram));
    socket.on('error', (error) => this.#fail(error));
    // A callback of `connect` would be given its errors, in the place of the handler.
    socket.once('connect', () => {
      this.#isConnected = true;
      for (const datagram of this.#early.splice(0)) socket.send(datagram);
    });
    socket.connect(this.#target.port, address);
  }

  #fail(error: NodeJS.ErrnoException | QtunnelError): void {
    if (this.#over) return;
    this.close();
    const [reason, message] = meaningOf(error, this.#target);
    this.#handler.onClose(reason, message);
  }
}

function meaningOf(error: NodeJS.ErrnoException | QtunnelError, target: Address): [ResetReason, string] {
  if (error instanceof QtunnelError) return ['NO_BACKEND', error.message];
  const reason = REASONS[error.code ?? ''] ?? 'DIAL_UNREACHABLE';
  return [reason, `The target ${formatAddress(target)} cannot be reached over UDP (${error.code ?? error.message}).`];
}

const REASONS: Readonly<Record<string, ResetReason>> = {
  ECONNREFUSED: 'DIAL_REFUSED',
  ENOTFOUND: 'DIAL_NAME_NOT_FOUND',
  EAI_AGAIN: 'DIAL_NAME_NOT_FOUND',
  EMFILE: 'RESOURCE',
  ENFILE: 'RESOURCE',
};
/** Datagrams that wait for the target's address. */
const MOST_EARLY = 16;
const READ = new Uint8Array(4_096);
