import { QtunnelError } from '../errors.ts';

/**
 * The ids of the QUIC streams that carry what is not small, unidirectional, and counted upwards by each side (RFC 9000 §2.1):
 *
 *     client 2, 6, 10, …     server 3, 7, 11, …
 */
export class QuicIds {
  #nextOwn: number;
  /** The least that the peer may use next. */
  #nextPeer: number;

  constructor(role: 'client' | 'server') {
    [this.#nextOwn, this.#nextPeer] = role === 'client' ? [2, 3] : [3, 2];
  }

  next(): number {
    return (this.#nextOwn += STEP) - STEP;
  }

  /** The peer has a stream go on on this QUIC stream. @throws QtunnelError `PROTOCOL_VIOLATION` when it may not. */
  handlePeer(id: number): void {
    if ((id - this.#nextPeer) % STEP !== 0 || id < this.#nextPeer) {
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer moved a stream to QUIC stream ${id}, which it may not.`);
    }
    this.#nextPeer = id + STEP;
  }

  /** Whether the peer has told of this QUIC stream. */
  isTold(id: number): boolean {
    return id < this.#nextPeer;
  }
}

const STEP = 4;
