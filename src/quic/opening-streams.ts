import type { OpenRequest } from '../link/link.ts';
import { RESET_REASONS } from '../protocol/reset.ts';
import { type QuicConnection, StreamCut } from './connection.ts';
import { IncomingStream } from './incoming.ts';

export interface OpeningHandler {
  /** The stream's OPEN frame is there; it took the stream's first `length` bytes. */
  onOpen(id: number, length: number, request: OpenRequest): void;
  /** More streams have begun with a part of an OPEN frame than are allowed at once. */
  onTooMany(id: number): void;
}

/** The peer's streams before they have said what they want. */
export class OpeningStreams {
  readonly #connection: QuicConnection;
  readonly #limit: number;
  readonly #handler: OpeningHandler;
  readonly #incoming = new Map<number, IncomingStream>();
  /**
   * Streams whose RESET frame came before their OPEN, with its code, oldest first. RESET_STREAM cannot be relied on: quiche sends no lost one again
   * once the peer has reset the other direction.
   */
  readonly #resetEarly = new Map<number, number>();

  /** `limit` is how many streams may be on their way, and how many early resets are remembered. */
  constructor(connection: QuicConnection, limit: number, handler: OpeningHandler) {
    this.#connection = connection;
    this.#limit = limit;
    this.#handler = handler;
  }

  /** Streams of which a part of the OPEN frame has come. */
  get size(): number {
    return this.#incoming.size;
  }

  clear(): void {
    this.#incoming.clear();
  }

  /** A RESET frame for a stream of the peer's that is not open. It may have ended here before: such an id comes never again. */
  handleReset(id: number, code: number): void {
    if (this.#incoming.delete(id)) return this.#connection.cutStream(id, code);
    const [oldest] = this.#resetEarly.keys();
    if (oldest !== undefined && this.#resetEarly.size >= this.#limit) this.#resetEarly.delete(oldest);
    this.#resetEarly.set(id, code);
  }

  /** @throws QtunnelError `PROTOCOL_VIOLATION` when the stream begins with something other than OPEN. */
  handleReadable(id: number): void {
    const code = this.#resetEarly.get(id);
    if (code !== undefined) {
      this.#resetEarly.delete(id);
      return this.#connection.cutStream(id, code);
    }
    const known = this.#incoming.get(id);
    if (known === undefined && this.#incoming.size >= this.#limit) return this.#handler.onTooMany(id);
    const incoming = known ?? new IncomingStream(id);
    let request: OpenRequest | null;
    try {
      request = incoming.read(this.#connection);
    } catch (error) {
      this.#incoming.delete(id);
      if (!(error instanceof StreamCut)) throw error;
      return this.#connection.cutStream(id, RESET_REASONS.RESET);
    }
    if (request === null) {
      if (incoming.begun) this.#incoming.set(id, incoming);
      return;
    }
    this.#incoming.delete(id);
    this.#handler.onOpen(id, incoming.length, request);
  }
}
