import { QtunnelError } from '../errors.ts';

/**
 * The numbers of a link's streams. Each side counts its own upwards:
 *
 *     client 2, 4, 6, …     server 1, 3, 5, …
 *
 * A client that is alone in opening streams may use any numbers that rise.
 */
export class StreamNumbers {
  #nextOwn: number;
  /** The least that the peer may use next. */
  #nextPeer: number;
  /** The peer's numbers are all that there are. */
  readonly #isPeers: boolean;

  constructor(role: 'client' | 'server', isClientAlone = false) {
    this.#isPeers = isClientAlone && role === 'server';
    [this.#nextOwn, this.#nextPeer] = role === 'client' ? [2, 1] : [1, this.#isPeers ? 1 : 2];
  }

  next(): number {
    return (this.#nextOwn += STEP) - STEP;
  }

  isOwn(id: number): boolean {
    return !this.#isPeers && (id - this.#nextOwn) % STEP === 0;
  }

  /** The peer opens a stream. @throws QtunnelError `PROTOCOL_VIOLATION` when it may not have this number. */
  handlePeer(id: number): void {
    if (this.isOwn(id) || id < this.#nextPeer)
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer opened stream ${id}, which it may not.`);
    this.#nextPeer = id + (this.#isPeers ? 1 : STEP);
  }

  /** Whether the peer may yet open a stream with this number. */
  isAhead(id: number): boolean {
    return !this.isOwn(id) && id >= this.#nextPeer;
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` when neither side has opened this stream yet. */
  expectUsed(id: number): void {
    if (id >= (this.isOwn(id) ? this.#nextOwn : this.#nextPeer)) {
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer spoke of stream ${id}, which has not been opened.`);
    }
  }
}

const STEP = 2;
