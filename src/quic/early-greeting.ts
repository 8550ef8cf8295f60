import { randomBytes } from 'node:crypto';
import { asQtunnelError, QtunnelError } from '../errors.ts';
import type { CheckServer } from '../link/options.ts';
import { equalBytes } from '../protocol/bytes.ts';
import { ClientHandshake, reportKeys } from '../protocol/handshake.ts';
import { DEFAULT_SETTINGS, LINK_ID } from '../protocol/messages.ts';
import type { UdpAddress } from '../udp/socket.ts';
import type { QuicConnection } from './connection.ts';
import { clientShardKeys, Greeting, type GreetingOutcome } from './greeting.ts';
import type { QuicOptions } from './link-settings.ts';
import { QuicLink } from './link.ts';
import { Reminder } from './reminder.ts';
import type { Ticket } from './tickets.ts';

/**
 * The greeting of a client with a ticket: HELLO, and what the link is given meanwhile, go out in the first flight (docs/PROTOCOL.md, "Early data"). The link is there at once; until
 * WELCOME this stands before it and makes sure that the server is the one that the ticket is from. When it is not, the link is closed.
 */
export class EarlyGreeting extends Greeting {
  readonly #ticket: Ticket;
  readonly #checkServer: CheckServer;
  readonly #handshake: ClientHandshake;
  readonly #nonce: Uint8Array;
  readonly #link: QuicLink;
  readonly #reminder = new Reminder();

  /** `ticket.chain` has been judged as the server's. */
  constructor(
    connection: QuicConnection,
    options: QuicOptions & { checkServer: CheckServer },
    outcome: GreetingOutcome,
    timeout: number,
    ticket: Ticket,
  ) {
    super(connection, options, outcome, timeout);
    connection.holdsSecrets = connection.isEarly = true;
    this.#ticket = ticket;
    this.#checkServer = options.checkServer;
    const id = randomBytes(LINK_ID).toString('hex');
    const context = this.context(ticket.chain[0]!);
    this.#nonce = context.nonce;
    this.#handshake = new ClientHandshake(context, id);
    this.control.send(this.#handshake.hello);
    const shards = clientShardKeys(options.auth.hmac, this.#nonce);
    const peer = { ...DEFAULT_SETTINGS, shards: this.settings.shards, endpoints: ticket.wantsEndpoints ? 1 : 0 };
    this.#link = new QuicLink(connection, this.control, options, {
      id,
      role: 'client',
      own: this.settings,
      peer,
      shards,
      reports: null,
    });
    outcome.onLink(this.#link);
  }

  onEstablished(): void {
    const chain = this.connection.native.peerCertChain() ?? [];
    try {
      if (chain[0] === undefined || !equalBytes(chain[0], this.#ticket.chain[0]!)) throw otherCertificate();
      this.#checkServer(chain);
      this.connection.holdsSecrets = false;
    } catch (error) {
      return this.fail(asQtunnelError(error));
    }
    this.#reminder.start(this.connection.clock.now());
  }

  override onReceived(now: number): void {
    this.#link.onReceived(now);
  }

  override onTurn(now: number): void {
    if (this.isOver(now)) return super.onTurn(now);
    if (this.#reminder.poll(now)) this.connection.ping();
    this.#link.onTurn(now);
  }

  override deadline(now: number): number {
    return Math.min(super.deadline(now), this.#reminder.deadline, this.#link.deadline(now));
  }

  override onMove(local: UdpAddress): void {
    this.#link.onMove(local);
  }

  override onClosed(reason: QtunnelError): void {
    this.#link.onClosed(reason);
  }

  protected onAnswer(type: number, payload: Uint8Array): void {
    const welcome = this.#handshake.handleAnswer(type, payload);
    const { toClient, toServer } = reportKeys(this.options.auth.hmac, this.#nonce, welcome.nonce);
    this.connection.resetToken = welcome.resetToken;
    this.connection.handleWelcome();
    this.connection.stage = this.#link;
    this.#link.confirm(welcome.settings, { toPeer: toServer, fromPeer: toClient });
    this.#link.handler.onEarlyData?.(this.connection.native.isResumed());
  }
}

function otherCertificate(): QtunnelError {
  return new QtunnelError(
    'LINK_LOST',
    'The server has another certificate than when the ticket was made; the next attempt goes without one.',
  );
}
