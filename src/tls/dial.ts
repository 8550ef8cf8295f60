import { isIP } from 'node:net';
import { connect, type SecureContext, type TLSSocket } from 'node:tls';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { type PatientTimer, setPatientTimer } from '../link/patient-timer.ts';
import type { CheckServer, LinkOptions, LinkTarget } from '../link/options.ts';
import { ALPN, ClientHandshake } from '../protocol/handshake.ts';
import type { Welcome } from '../protocol/messages.ts';
import { ROOM } from '../resources/room.ts';
import { type ConnectionHandler, TlsConnection } from './connection.ts';
import { chainOf, handshakeContext, hashCertificate } from './context.ts';
import { closedAfterHello, connectProblem, notQtunnel } from './problems.ts';

export interface DialOptions {
  readonly target: LinkTarget;
  readonly options: LinkOptions;
  readonly checkServer: CheckServer;
  readonly secureContext: SecureContext;
  readonly linkId: string;
  /** For streams of a link that is there: not with a descriptor of the reserve. */
  readonly isFurther?: boolean;
}

/**
 * Takes the connection over: gives it a handler before it returns, because the server's next frame may be there already. `rtt` is the time from HELLO to
 * WELCOME in milliseconds.
 */
export type TakeOver<T> = (connection: TlsConnection, welcome: Welcome, rtt: number) => T;

/**
 * One connection with the server: TCP, TLS, judgement on the certificate, proofs. `nonce` is 16 bytes. Gives
 * what `takeOver` returns.
 * @throws QtunnelError `LINK_REFUSED`, `LINK_TIMEOUT`, `LINK_LOST`, `PROTOCOL_VIOLATION`, `VERSION_MISMATCH`, `ABORTED`, and what `checkServer` and the
 *   handshake throw.
 */
export function dial<T>(options: DialOptions, nonce: Uint8Array, signal: AbortSignal, takeOver: TakeOver<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const succeed: TakeOver<void> = (connection, welcome, rtt) => resolve(takeOver(connection, welcome, rtt));
    const dialling = new Dialling(options, nonce, signal, succeed, reject);
    if (signal.aborted) dialling.abort();
  });
}

class Dialling implements ConnectionHandler {
  readonly #options: DialOptions;
  readonly #nonce: Uint8Array;
  readonly #signal: AbortSignal;
  readonly #succeed: TakeOver<void>;
  readonly #reject: (error: QtunnelError) => void;
  readonly #socket: TLSSocket;
  readonly #connection: TlsConnection;
  readonly #timer: PatientTimer;
  #handshake: ClientHandshake | null = null;
  #greetedAt = 0;

  constructor(
    options: DialOptions,
    nonce: Uint8Array,
    signal: AbortSignal,
    succeed: TakeOver<void>,
    reject: (error: QtunnelError) => void,
  ) {
    this.#options = options;
    this.#nonce = nonce;
    this.#signal = signal;
    this.#succeed = succeed;
    this.#reject = reject;
    this.#socket = connectSocket(options);
    this.#connection = new TlsConnection(this.#socket, formatAddress(options.target), options.options.keepalive);
    this.#connection.handler = this;
    if (options.isFurther === true) this.#socket.once('connect', () => this.#checkRoom());
    this.#socket.once('secureConnect', () => this.#greet());
    this.#timer = setPatientTimer(() => this.#timeOut(), HANDSHAKE_TIMEOUT);
    signal.addEventListener('abort', this.abort, { once: true });
  }

  readonly abort = (): void => {
    this.#fail(new QtunnelError('ABORTED', 'The attempt to connect was given up.'));
  };

  onFrame(type: number, payload: Uint8Array): void {
    if (this.#handshake === null) throw new QtunnelError('PROTOCOL_VIOLATION', 'The server spoke before HELLO.');
    // What it throws comes back through `onLost`.
    const welcome = this.#handshake.handleAnswer(type, payload);
    this.#settle();
    this.#succeed(this.#connection, welcome, performance.now() - this.#greetedAt);
  }

  onData(): void {
    throw new QtunnelError('PROTOCOL_VIOLATION', 'The server sent DATA before WELCOME.');
  }

  onDrain(): void {
    // HELLO is not held back.
  }

  onLost(error: QtunnelError): void {
    this.#fail(error.code === 'LINK_LOST' ? this.#endProblem(error) : error);
  }

  #endProblem(error: QtunnelError): QtunnelError {
    if (this.#handshake === null) return connectProblem(error, this.#connection.peer);
    // An end without an error: so a server with a secret turns away who does not show it.
    return error.cause === undefined ? closedAfterHello(this.#options.options.auth.key !== null) : error;
  }

  #checkRoom(): void {
    const shortage = ROOM.descriptorShortageFor(this.#socket);
    if (shortage !== null)
      this.#fail(new QtunnelError('SERVER_BUSY', `No connection can be made for the stream: ${shortage.message}.`));
  }

  #greet(): void {
    try {
      if (this.#socket.alpnProtocol !== ALPN) throw notQtunnel(this.#connection.peer);
      const chain = chainOf(this.#socket);
      if (chain.length === 0) throw new QtunnelError('CERT_UNTRUSTED', 'The server presented no certificate.');
      this.#options.checkServer(chain);
      this.#handshake = this.#makeHandshake(chain[0]!);
      this.#greetedAt = performance.now();
      this.#connection.send(this.#handshake.hello);
    } catch (error) {
      if (!(error instanceof QtunnelError)) throw error;
      this.#fail(error);
    }
  }

  #makeHandshake(certificateDer: Uint8Array): ClientHandshake {
    const { options, linkId } = this.#options;
    const context = handshakeContext(options, hashCertificate(certificateDer), this.#nonce);
    return new ClientHandshake(context, linkId);
  }

  #timeOut(): void {
    const what = this.#handshake === null ? 'did not complete a TLS handshake' : 'did not answer';
    this.#fail(new QtunnelError('LINK_TIMEOUT', `${this.#connection.peer} ${what} within ${HANDSHAKE_TIMEOUT / 1000} s.`));
  }

  #fail(error: QtunnelError): void {
    this.#settle();
    this.#connection.destroy();
    this.#reject(error);
  }

  #settle(): void {
    this.#timer.cancel();
    this.#signal.removeEventListener('abort', this.abort);
  }
}

function connectSocket({ target, secureContext }: DialOptions): TLSSocket {
  const { host, port, serverName } = target;
  // Who the server is, `checkServer` and the proofs say. An IP address is no server name (RFC 6066 §3).
  const options = { host, port, secureContext, ALPNProtocols: [ALPN], minVersion: 'TLSv1.3' as const, rejectUnauthorized: false };
  return connect(isIP(serverName) === 0 && serverName !== '' ? { ...options, servername: serverName } : options);
}

/** Milliseconds for all round trips: TCP, TLS, HELLO. As for QUIC. */
const HANDSHAKE_TIMEOUT = 10_000;
