import { QtunnelError } from '../errors.ts';
import type { LinkState } from '../link/link.ts';
import type { QuicConnection } from './connection.ts';
import type { QuicIds } from './quic-ids.ts';
import type { QuicStream } from './stream.ts';

/** What of its link the reading of QUIC streams needs. */
export interface MovedStreamsHost {
  readonly connection: QuicConnection;
  readonly state: LinkState;
}

/** The streams whose input comes on a QUIC stream of its own, by that one's id. */
export class MovedStreams {
  readonly #host: MovedStreamsHost;
  readonly #ids: QuicIds;
  readonly #mostUntold: number;
  readonly #streams = new Map<number, QuicStream>();

  /** `mostUntold` is how many QUIC streams the peer may use before it tells of them. */
  constructor(host: MovedStreamsHost, ids: QuicIds, mostUntold: number) {
    this.#host = host;
    this.#ids = ids;
    this.#mostUntold = mostUntold;
  }

  /** The rest of `stream`, undefined for one that has ended here, comes on this QUIC stream. @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleMove(quicStream: number, stream: QuicStream | undefined): void {
    this.#ids.handlePeer(quicStream);
    if (stream === undefined) return;
    this.#streams.set(quicStream, stream);
    stream.handleMove(quicStream);
  }

  forget(quicStream: number): void {
    this.#streams.delete(quicStream);
  }

  /** Has the streams read what has come. @throws QtunnelError `PROTOCOL_VIOLATION` */
  read(): void {
    if (this.#streams.size <= ASKED_SINGLY) this.#readFew();
    this.#readListed();
  }

  /** Asks the few streams that there are one by one; mostly nothing is left then that would have to be listed. */
  #readFew(): void {
    const { connection } = this.#host;
    for (const [id, stream] of this.#streams) if (connection.streams.isReadable(id)) stream.handleReadable();
  }

  /** What belongs to no stream is of one that was reset, or its MOVE frame is still under way: then it is left where it is. */
  #readListed(): void {
    const { connection } = this.#host;
    let unknown = 0;
    let isStuck = false;
    for (const id of connection.streams.listReadable()) {
      const stream = this.#streams.get(id);
      // A handler may have closed the link since.
      if (this.#host.state === 'closed') return;
      if (!connection.streams.isReadable(id)) isStuck = true;
      else if (stream !== undefined) stream.handleReadable();
      else if (this.#ids.isTold(id)) connection.streams.discard(id);
      else if (++unknown > this.#mostUntold)
        throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer uses QUIC streams that it has not told of.');
    }
    if (isStuck) this.#refuseStuck();
  }

  /** quiche 0.18 lists a stream for ever that was reset after its end had come: nothing can be read of it, and it is never forgotten. */
  #refuseStuck(): void {
    const { connection } = this.#host;
    if (connection.streams.listReadable().some((id) => !connection.streams.isReadable(id)))
      throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer reset a QUIC stream that it had ended.');
  }
}

/** Streams: asking one costs 0.1 µs, listing the readable ones 20 µs with what it leaves for the garbage collector. */
const ASKED_SINGLY = 128;
