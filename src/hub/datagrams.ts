import { createSocket, type Socket } from 'node:dgram';
import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import type { Address } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
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

/** Datagrams on a stream, each behind its length (u16): whole, in order, up to 65,535 bytes. */
export class StreamDatagrams implements DatagramEnd, StreamHandler {
  readonly #stream: LinkStream;
  readonly #handler: DatagramHandler;
  /** What the stream did not take of the last datagram; others are dropped until it has. */
  #rest: Uint8Array | null = null;
  #input = Buffer.alloc(0);
  #over = false;

  constructor(stream: LinkStream, handler: DatagramHandler) {
    this.#stream = stream;
    this.#handler = handler;
    stream.handler = this;
  }

  send(datagram: Uint8Array): void {
    if (this.#rest !== null || this.#over || datagram.length > LARGEST) return;
    const framed = Buffer.allocUnsafe(LENGTH + datagram.length);
    framed.writeUInt16BE(datagram.length, 0);
    framed.set(datagram, LENGTH);
    const taken = this.#stream.write(framed);
    if (taken < framed.length) this.#rest = framed.subarray(taken);
  }

  close(reason: ResetReason | null, message: string): void {
    if (this.#over) return;
    this.#over = true;
    if (reason === null && this.#rest === null) this.#stream.end();
    else this.#stream.reset(reason ?? 'RESET', message);
  }

  onReadable(): void {
    while (!this.#over) {
      const n = this.#stream.read(READ);
      if (n === NOTHING_YET) return;
      if (n === END) {
        this.#stream.end();
        return this.#finish(null, '');
      }
      this.#take(READ.subarray(0, n));
    }
    // Its end has to be read, for the stream to be over.
    while (this.#stream.read(READ) > 0);
  }

  onWritable(): void {
    const rest = this.#rest;
    if (rest === null || this.#over) return;
    const taken = this.#stream.write(rest);
    this.#rest = taken < rest.length ? rest.subarray(taken) : null;
  }

  onReset(reason: ResetReason, message: string): void {
    this.#finish(reason, message);
  }

  #take(bytes: Buffer): void {
    let input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes]);
    while (input.length >= LENGTH) {
      const end = LENGTH + input.readUInt16BE(0);
      if (input.length < end) break;
      this.#handler.onDatagram(input.subarray(LENGTH, end));
      if (this.#over) return;
      input = input.subarray(end);
    }
    this.#input = Buffer.from(input);
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
    socket.connect(this.#target.port, address, () => {
      this.#isConnected = true;
      for (const datagram of this.#early.splice(0)) socket.send(datagram);
    });
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
const LENGTH = 2;
const LARGEST = 65_535;
/** Datagrams that wait for the target's address. */
const MOST_EARLY = 16;
const READ = Buffer.allocUnsafeSlow(65_536);
