import { createHash, randomBytes } from 'node:crypto';
import { asQtunnelError, QtunnelError } from '../errors.ts';
import { type CheckServer, recogniser } from '../link/options.ts';
import {
  ClientHandshake,
  type HandshakeContext,
  type HelloVerdict,
  type Hmac,
  judgeHello,
  refuse,
  reportKeys,
  shardKeys,
} from '../protocol/handshake.ts';
import { LINK_ID, type LinkSettings, NONCE } from '../protocol/messages.ts';
import { closeCodeFor } from './close.ts';
import type { QuicConnection } from './connection.ts';
import { ControlStream } from './control-stream.ts';
import { type QuicOptions, settingsOf } from './link-settings.ts';
import { QuicLink } from './link.ts';
import type { UdpAddress } from '../udp/socket.ts';
import type { DirectionKeys } from './packetization/packetizer.ts';
import type { Stage } from './stage.ts';

/** What comes of a greeting. Exactly one of `onLink` and `onFailure` is called, once. */
export interface GreetingOutcome {
  /** A server: why a client that has proven itself cannot have a link now; null, or left out, when it can. */
  refuse?(client: string): QtunnelError | null;
  onLink(link: QuicLink): void;
  onFailure(error: QtunnelError): void;
}

/** The time from the first packet to the link, and what both greetings do when it does not come. */
export abstract class Greeting implements Stage {
  protected readonly connection: QuicConnection;
  protected readonly options: QuicOptions;
  protected readonly outcome: GreetingOutcome;
  protected readonly control: ControlStream;
  /** What the peer is told; made once the path's round trip is known. */
  protected settings: LinkSettings;
  readonly #deadline: number;

  constructor(connection: QuicConnection, options: QuicOptions, outcome: GreetingOutcome, timeout: number) {
    this.connection = connection;
    this.options = options;
    this.outcome = outcome;
    this.control = new ControlStream(connection, (type, payload) => this.onAnswer(type, payload));
    this.settings = settingsOf(options, 0);
    this.#deadline = connection.clock.now() + timeout;
  }

  abstract onEstablished(): void;
  protected abstract onAnswer(type: number, payload: Uint8Array): void;

  onReceived(_now: number): void {
    // Before HELLO has come there is no such stream.
    if (!this.control.isReadable) return;
    try {
      this.control.handleReadable();
    } catch (error) {
      return this.fail(asQtunnelError(error));
    }
    if (this.connection.stage !== this) this.connection.lookAgain();
  }

  onTurn(now: number): void {
    if (!this.isOver(now)) return this.#flush();
    const what = this.connection.established
      ? 'The QUIC handshake was completed but the peer said nothing after it'
      : 'No answer over UDP';
    this.fail(new QtunnelError('LINK_TIMEOUT', `${what}.`));
  }

  deadline(_now: number): number {
    return this.#deadline;
  }

  onMove(_local: UdpAddress): void {
    // Attempts do not move: they are made again.
  }

  onClosed(reason: QtunnelError): void {
    this.outcome.onFailure(reason);
  }

  /** Whether the peer has had its time. */
  protected isOver(now: number): boolean {
    return now >= this.#deadline;
  }

  protected fail(error: QtunnelError): void {
    this.connection.close(closeCodeFor(error.code), error);
  }

  protected handOver(link: QuicLink): void {
    // Whoever gets the link sets its handler before it hears of streams.
    this.control.pause();
    this.connection.stage = link;
    this.outcome.onLink(link);
  }

  #flush(): void {
    try {
      this.control.flush();
    } catch (error) {
      this.fail(asQtunnelError(error));
    }
  }

  protected context(certificateDer: Uint8Array): HandshakeContext {
    this.connection.refreshPath();
    // quiche makes a round trip up as long as none was measured.
    this.settings = settingsOf(this.options, this.connection.established ? (this.connection.path?.rtt ?? 0) : 0);
    const { auth, software } = this.options;
    const certificate = createHash('sha256').update(certificateDer).digest();
    return { ...auth, certificate, nonce: randomBytes(NONCE), software, settings: this.settings };
  }
}

/** The client's: judge the certificate, say HELLO, wait for WELCOME. */
export class ClientGreeting extends Greeting {
  readonly #checkServer: CheckServer;
  readonly #linkId = randomBytes(LINK_ID).toString('hex');
  /** What HELLO was made of; null before it has gone out. */
  #said: { readonly handshake: ClientHandshake; readonly nonce: Uint8Array; readonly shards: DirectionKeys } | null = null;

  constructor(
    connection: QuicConnection,
    options: QuicOptions & { checkServer: CheckServer },
    outcome: GreetingOutcome,
    timeout: number,
  ) {
    super(connection, options, outcome, timeout);
    this.#checkServer = options.checkServer;
  }

  onEstablished(): void {
    const chain = this.connection.native.peerCertChain() ?? [];
    const leaf = chain[0];
    if (leaf === undefined) return this.fail(new QtunnelError('CERT_UNTRUSTED', 'The server presented no certificate.'));
    try {
      this.#checkServer(chain);
    } catch (error) {
      return this.fail(asQtunnelError(error));
    }
    const context = this.context(leaf);
    const handshake = new ClientHandshake(context, this.#linkId);
    const shards = clientShardKeys(context.hmac, context.nonce);
    this.#said = { handshake, nonce: context.nonce, shards };
    this.connection.packetizer.acceptBlocks(shards.fromPeer);
    this.control.send(handshake.hello);
  }

  protected onAnswer(type: number, payload: Uint8Array): void {
    if (this.#said === null) throw new QtunnelError('PROTOCOL_VIOLATION', 'The server spoke before HELLO.');
    const { handshake, nonce, shards } = this.#said;
    const { connection, control, options } = this;
    const welcome = handshake.handleAnswer(type, payload);
    const { toClient, toServer } = reportKeys(options.auth.hmac, nonce, welcome.nonce);
    const reports = { toPeer: toServer, fromPeer: toClient };
    const link = new QuicLink(connection, control, options, {
      id: this.#linkId,
      role: 'client',
      own: this.settings,
      peer: welcome.settings,
      shards,
      reports,
    });
    connection.resetToken = welcome.resetToken;
    this.handOver(link);
  }
}

/** The server's: wait for HELLO, judge it, answer. */
export class ServerGreeting extends Greeting {
  readonly #certificateDer: Uint8Array;
  readonly #resetToken: Uint8Array;

  constructor(
    connection: QuicConnection,
    options: QuicOptions,
    server: { certificateDer: Uint8Array; resetToken: Uint8Array },
    outcome: GreetingOutcome,
    timeout: number,
  ) {
    super(connection, options, outcome, timeout);
    this.#certificateDer = server.certificateDer;
    this.#resetToken = server.resetToken;
  }

  onEstablished(): void {
    // The client speaks first.
  }

  protected onAnswer(type: number, payload: Uint8Array): void {
    const { connection, control, options } = this;
    const shown = connection.native.peerCertChain() ?? [];
    const context = { ...this.context(this.#certificateDer), recognise: recogniser(options.auth, shown) };
    const verdict = this.#judge(context, type, payload);
    control.send(verdict.answer);
    control.flush();
    if (!verdict.accepted) return this.#refuse(verdict.error);
    const { linkId, settings, nonce, client } = verdict.hello;
    const { toClient, toServer } = reportKeys(options.auth.hmac, nonce, context.nonce);
    const reports = { toPeer: toClient, fromPeer: toServer };
    const shards = shardKeys(options.auth.hmac, nonce);
    const link = new QuicLink(connection, control, options, {
      id: linkId,
      client,
      role: 'server',
      own: this.settings,
      peer: settings,
      shards: { toPeer: shards.toClient, fromPeer: shards.toServer },
      reports,
    });
    this.handOver(link);
    // Nobody uses a ticket but for early data.
    if (connection.native.isResumed()) link.handler.onEarlyData?.(true);
  }

  #judge(context: HandshakeContext, type: number, payload: Uint8Array): HelloVerdict {
    const verdict = judgeHello(context, this.#resetToken, type, payload);
    const busy = verdict.accepted ? (this.outcome.refuse?.(verdict.hello.client) ?? null) : null;
    return busy === null ? verdict : refuse('BUSY', 'SERVER_BUSY', busy.message);
  }

  /** CONNECTION_CLOSE goes out before what streams hold, so it carries the reason as well. */
  #refuse(error: QtunnelError): void {
    this.control.onFrame = () => {};
    this.fail(error);
  }
}

/** A client's keys for shards, from the nonce in its HELLO. */
export function clientShardKeys(hmac: Hmac, nonce: Uint8Array): DirectionKeys {
  const { toClient, toServer } = shardKeys(hmac, nonce);
  return { toPeer: toServer, fromPeer: toClient };
}
