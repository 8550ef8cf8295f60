import { randomBytes } from 'node:crypto';
import { QtunnelError } from '../errors.ts';
import { isOpen, type LinkOptions, recogniser } from '../link/options.ts';
import { judgeHello, refuse } from '../protocol/handshake.ts';
import { type Hello, NONCE, RESET_TOKEN } from '../protocol/messages.ts';
import type { ConnectionHandler, TlsConnection } from './connection.ts';
import { handshakeContext } from './context.ts';

/** What comes of a greeting. */
export interface GreetingOutcome {
  /**
   * The client has proven itself: makes room for the connection, or says why there is none. When it returns a function, WELCOME is sent and
   * that is called.
   */
  admit(hello: Hello, token: Uint8Array): (() => void) | QtunnelError;
  onFailure(error: QtunnelError): void;
}

/** The server's side of a connection until the client has proven itself. */
export class ServerGreeting implements ConnectionHandler {
  readonly #connection: TlsConnection;
  readonly #options: LinkOptions;
  readonly #certificate: Uint8Array;
  readonly #clientChain: readonly Uint8Array[];
  readonly #outcome: GreetingOutcome;

  /** `server` is the hash of the certificate that was presented on this connection, `client` what the client presented. */
  constructor(
    connection: TlsConnection,
    options: LinkOptions,
    { server, client }: { readonly server: Uint8Array; readonly client: readonly Uint8Array[] },
    outcome: GreetingOutcome,
  ) {
    this.#connection = connection;
    this.#options = options;
    this.#certificate = server;
    this.#clientChain = client;
    this.#outcome = outcome;
  }

  onFrame(type: number, payload: Uint8Array): void {
    const context = {
      ...handshakeContext(this.#options, this.#certificate, randomBytes(NONCE)),
      recognise: recogniser(this.#options.auth, this.#clientChain),
    };
    const token = randomBytes(RESET_TOKEN);
    const verdict = judgeHello(context, token, type, payload);
    // What a server with a secret is, it tells nobody who does not have it.
    if (!verdict.accepted)
      return this.#reject(verdict.error, verdict.isProven || isOpen(this.#options.auth) ? verdict.answer : null);
    const admitted = this.#outcome.admit(verdict.hello, token);
    if (admitted instanceof QtunnelError) {
      const busy = admitted.code === 'SERVER_BUSY';
      return this.#reject(
        admitted,
        refuse(busy ? 'BUSY' : 'PROTOCOL', busy ? 'SERVER_BUSY' : 'PROTOCOL_VIOLATION', admitted.message).answer,
      );
    }
    this.#connection.send(verdict.answer);
    admitted();
  }

  onData(): void {
    throw new QtunnelError('PROTOCOL_VIOLATION', 'The client sent DATA where HELLO belongs.');
  }

  onDrain(): void {
    // The answer is not held back.
  }

  onLost(error: QtunnelError): void {
    this.#outcome.onFailure(error);
  }

  #reject(error: QtunnelError, answer: Uint8Array | null): void {
    this.#connection.cutOff(answer);
    this.#outcome.onFailure(error);
  }
}
