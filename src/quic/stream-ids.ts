import { QtunnelError } from '../errors.ts';

/**
 * The numbers of a link's streams, and of the QUIC streams that carry what is not small. Each side counts its own upwards:
 *
 *     streams        client 2, 4, 6, …     server 1, 3, 5, …
 *     QUIC streams   client 2, 6, 10, …    server 3, 7, 11, …     unidirectional (RFC 9000 §2.1)
 */
export class StreamIds {
  #nextOwn: number;
  #nextOwnQuic: number;
  /** The least that the peer may use next. */
  #nextPeer: number;
  #nextPeerQuic: number;

  constructor(role: 'client' | 'server') {
    [this.#nextOwn, this.#nextPeer] = role === 'client' ? [2, 1] : [1, 2];
    [this.#nextOwnQuic, this.#nextPeerQuic] = role === 'client' ? [2, 3] : [3, 2];
  }

  nextOwn(): number {
    return (this.#nextOwn += STEP) - STEP;
  }

  nextOwnQuic(): number {
    return (this.#nextOwnQuic += QUIC_STEP) - QUIC_STEP;
  }

  isOwn(id: number): boolean {
    return (id - this.#nextOwn) % STEP === 0;
  }

  /** The peer opens a stream. @throws QtunnelError `PROTOCOL_VIOLATION` when it may not have this number. */
  handlePeer(id: number): void {
    if (this.isOwn(id) || id < this.#nextPeer)
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer opened stream ${id}, which it may not.`);
    this.#nextPeer = id + STEP;
  }

  /** The peer has a stream go on on this QUIC stream. @throws QtunnelError `PROTOCOL_VIOLATION` when it may not. */
  handlePeerQuic(id: number): void {
    if ((id - this.#nextPeerQuic) % QUIC_STEP !== 0 || id < this.#nextPeerQuic) {
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer moved a stream to QUIC stream ${id}, which it may not.`);
    }
    this.#nextPeerQuic = id + QUIC_STEP;
  }

  /** Whether the peer has told of this QUIC stream. */
  isPeerQuic(id: number): boolean {
    return id < this.#nextPeerQuic;
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` when neither side has opened this stream yet. */
  expectUsed(id: number): void {
    if (id >= (this.isOwn(id) ? this.#nextOwn : this.#nextPeer)) {
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer spoke of stream ${id}, which has not been opened.`);
    }
  }
}

const STEP = 2;
const QUIC_STEP = 4;
