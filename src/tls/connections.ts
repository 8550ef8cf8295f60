import { QtunnelError } from '../errors.ts';
import type { OpenRequest } from '../link/link.ts';
import { FRAME } from '../protocol/frames.ts';
import { decodeOpen } from '../protocol/messages.ts';
import type { ConnectionHandler, TlsConnection } from './connection.ts';

/** What a connection of the client's may be used for. */
export interface IdleUses {
  /** A stream that has no lane begins on it. */
  open(connection: TlsConnection, request: OpenRequest): void;
  /** A stream goes on over it; takes the payload of ATTACH. */
  attach(connection: TlsConnection, payload: Uint8Array): void;
}

/** The TLS connections of one link that are not closed, and at the server those of them that wait for a stream. */
export class Connections {
  readonly #all = new Set<TlsConnection>();
  readonly #idle = new Set<TlsConnection>();
  readonly #uses: IdleUses;
  /** Bytes of connections that are gone. */
  #bytesSent = 0;
  #bytesReceived = 0;

  constructor(uses: IdleUses) {
    this.#uses = uses;
  }

  get size(): number {
    return this.#all.size;
  }

  get idle(): number {
    return this.#idle.size;
  }

  get bytes(): { readonly bytesSent: number; readonly bytesReceived: number } {
    let bytesSent = this.#bytesSent;
    let bytesReceived = this.#bytesReceived;
    for (const { socket } of this.#all) {
      bytesSent += socket.bytesWritten;
      bytesReceived += socket.bytesRead;
    }
    return { bytesSent, bytesReceived };
  }

  adopt(connection: TlsConnection): void {
    this.#all.add(connection);
    connection.onGone = () => {
      this.#all.delete(connection);
      this.#idle.delete(connection);
      this.#bytesSent += connection.socket.bytesWritten;
      this.#bytesReceived += connection.socket.bytesRead;
    };
  }

  /** The server: has it wait until the client gives it to a stream. */
  letWait(connection: TlsConnection): void {
    this.#idle.add(connection);
    connection.handler = new IdleConnection(connection, this.#uses);
  }

  /** The server: has nothing to do with what comes on it until the client ends it. */
  ignore(connection: TlsConnection): void {
    this.take(connection);
    connection.handler = IGNORED;
  }

  /** It waits no more. */
  take(connection: TlsConnection): void {
    this.#idle.delete(connection);
  }

  destroyIdle(): void {
    for (const connection of this.#idle) connection.destroy();
  }

  /** Ends all of them, also those that were to end by themselves. */
  cutOff(): void {
    this.destroyIdle();
    for (const connection of this.#all) connection.cutOff(null);
  }
}

/** The server's end of a connection that waits in the client's pool. */
class IdleConnection implements ConnectionHandler {
  readonly #connection: TlsConnection;
  readonly #uses: IdleUses;

  constructor(connection: TlsConnection, uses: IdleUses) {
    this.#connection = connection;
    this.#uses = uses;
  }

  onFrame(type: number, payload: Uint8Array): void {
    if (type === FRAME.ATTACH) return this.#uses.attach(this.#connection, payload);
    // Said of the stream before, by a client that had not heard that the server was through with it: nothing else follows.
    if (type === FRAME.RESET) return this.#connection.finish();
    if (type !== FRAME.OPEN)
      throw new QtunnelError('PROTOCOL_VIOLATION', `The client sent a frame of type ${type} where OPEN belongs.`);
    const { stream: _stream, ...request } = decodeOpen(payload);
    this.#uses.open(this.#connection, request);
  }

  onData(): void {
    throw new QtunnelError('PROTOCOL_VIOLATION', 'The client sent DATA before OPEN.');
  }

  onDrain(): void {
    // Nothing is written here.
  }

  onLost(): void {
    // The client does not need it any more.
  }
}

const IGNORED: ConnectionHandler = { onFrame() {}, onData() {}, onDrain() {}, onLost() {} };
