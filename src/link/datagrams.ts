import { DatagramCutter, DatagramJoiner, MAX_DATAGRAM } from '../protocol/datagrams.ts';
import type { StreamHandler } from './link.ts';

/** What the datagrams of streams need of their link. */
export interface DatagramHost {
  /** Whether there is room for so many bytes in parts. */
  hasRoom(bytes: number): boolean;
  /** Sends a copy of a part; false for want of room. */
  readonly sendPart: (part: Uint8Array) => boolean;
  /** Who gets the datagrams of a stream; undefined when it is not there. */
  handlerOf(stream: number): StreamHandler | undefined;
  /** Whether the peer may yet open this stream. */
  isAhead(stream: number): boolean;
}

/** The datagrams of one link's streams: cut into parts that fit, put together again, and dropped where there is no room. */
export class Datagrams {
  /** Datagrams that were not sent for want of room. */
  #refused = 0;
  /** Datagrams that came for a stream that was not there. */
  #strays = 0;
  readonly #host: DatagramHost;
  readonly #cutter: DatagramCutter;
  readonly #joiner = new DatagramJoiner((stream, datagram) => this.#deliver(stream, datagram));
  /** Those that have overtaken their stream's opening. */
  #early: { readonly stream: number; readonly datagram: Uint8Array }[] = [];
  #earlyBytes = 0;

  /** `partSize` is the most bytes that a part may have. */
  constructor(host: DatagramHost, partSize: number) {
    this.#host = host;
    this.#cutter = new DatagramCutter(partSize);
  }

  /** Datagrams that this side has dropped: for want of room, of a part, or of their stream. */
  get dropped(): number {
    return this.#refused + this.#strays + this.#joiner.dropped;
  }

  /** Sends a datagram of a stream's, unless it is dropped. `most` is the largest that the peer takes. */
  send(stream: number, datagram: Uint8Array, most: number): boolean {
    const { length } = datagram;
    const fits = length <= Math.min(most, MAX_DATAGRAM) && this.#host.hasRoom(length);
    const isSent = fits && this.#cutter.cut(stream, datagram, this.#host.sendPart);
    if (!isSent) this.#refused++;
    return isSent;
  }

  /** Takes in what `sendPart` sent at the other side. @throws QtunnelError `PROTOCOL_VIOLATION` */
  handlePart(part: Uint8Array): void {
    this.#joiner.handlePart(part);
  }

  /** The peer has opened a stream: hands on what came before. */
  handleOpen(stream: number): void {
    if (this.#early.length === 0) return;
    const early = this.#early;
    this.#early = [];
    this.#earlyBytes = 0;
    for (const one of early) {
      if (one.stream === stream) this.#deliver(stream, one.datagram);
      else this.#keep(one.stream, one.datagram);
    }
  }

  /** A stream has ended. */
  forget(stream: number): void {
    this.#joiner.forget(stream);
  }

  #deliver(stream: number, datagram: Uint8Array): void {
    const handler = this.#host.handlerOf(stream);
    if (handler !== undefined) handler.onDatagram?.(datagram);
    else if (this.#host.isAhead(stream)) this.#keep(stream, Uint8Array.from(datagram));
    else this.#strays++;
  }

  #keep(stream: number, datagram: Uint8Array): void {
    if (this.#early.length >= MOST_EARLY || this.#earlyBytes + datagram.length > MAX_DATAGRAM) return void this.#strays++;
    this.#early.push({ stream, datagram });
    this.#earlyBytes += datagram.length;
  }
}

/** Datagrams: their streams' openings are a moment away. */
const MOST_EARLY = 16;
