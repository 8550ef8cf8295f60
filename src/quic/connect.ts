import { randomBytes } from 'node:crypto';
import { quiche, type Config, type Connection as QuicheConnection } from '@matrixai/quic/native/index.js';
import { asQtunnelError, QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { CheckServer, LinkAuth, LinkTarget } from '../link/options.ts';
import { CONNECTION_ID, endsWithToken } from '../protocol/connection-id.ts';
import { ALONE, type Place, placeOf } from '../protocol/place.ts';
import type { Hmac } from '../protocol/handshake.ts';
import { hintedNonce } from '../protocol/initial-keys.ts';
import { CLOCK_WINDOW, InitialProof, PROOF_NONCE } from '../protocol/initial-proof.ts';
import { MovingSocket } from '../udp/moving.ts';
import type { UdpAddress, UdpHandler, UdpSocket } from '../udp/socket.ts';
import type { Clock, Timer } from './clock.ts';
import { CLOSE } from './close.ts';
import { clientConfig, DATAGRAM_SIZES } from './config.ts';
import { type ConnectionHost, QuicConnection } from './connection.ts';
import { environmentFor, type QuicEnvironment } from './environment.ts';
import { EarlyGreeting } from './early-greeting.ts';
import { ClientGreeting } from './greeting.ts';
import type { QuicLink } from './link.ts';
import type { QuicOptions } from './link-settings.ts';
import type { Packetizer, PacketSink } from './packetization/packetizer.ts';
import { BlockPacketizer } from './packetization/blocks.ts';
import type { Ticket, TicketStore } from './tickets.ts';
import { Turns } from './turns.ts';

export type QuicConnectOptions = QuicOptions & {
  readonly checkServer: CheckServer;
  /** Where tickets for early data are kept; null or left out to do without. */
  readonly tickets?: TicketStore | null | undefined;
};

/**
 * Makes a link over QUIC: handshake, judgement on the server, proofs. Takes at most `HANDSHAKE_TIMEOUT`.
 * @throws QtunnelError `LINK_TIMEOUT` when nothing answers, `LINK_REFUSED` when the peer's machine says that nothing listens, `ABORTED` when
 *   `signal` fires first, and what `checkServer` and the handshake throw (`AUTH_…`, `CERT_…`, `VERSION_MISMATCH`, …).
 */
export async function connectQuic(
  target: LinkTarget,
  options: QuicConnectOptions,
  signal: AbortSignal,
  environment: QuicEnvironment = environmentFor(options.udp),
): Promise<Link> {
  if (signal.aborted) throw givenUp();
  const peer = { host: target.host, port: target.port };
  const open = (): Promise<UdpSocket> => environment.openUdp({ bind: { host: '', port: 0 }, connect: peer });
  const place = environment.place ?? ALONE;
  const known = await takeTicket(options, place);
  const udp = new MovingSocket(await open(), open);
  let native: QuicheConnection;
  let ticket: Ticket | null;
  try {
    if (signal.aborted) throw givenUp();
    const config = configFor(options);
    const id = ownId(options.auth, environment.date());
    native = connectTo(place, () => quiche.Connection.connect(target.serverName, id, udp.address, peer, config));
    ticket = useTicket(native, known);
  } catch (error) {
    udp.close();
    if (error instanceof QtunnelError) throw error;
    // A link-local address with its interface, for one.
    throw new QtunnelError('LINK_REFUSED', `QUIC cannot be spoken with ${target.host} (${String(error)}).`, { cause: error });
  }
  return await new Promise((resolve, reject) => {
    const endpoint = new ClientEndpoint(udp, environment, options.auth.hmac);
    const settled = (): void => signal.removeEventListener('abort', abort);
    const abort = (): void => connection.close(CLOSE.NONE, givenUp());
    const outcome = {
      onLink(link: Link): void {
        settled();
        if (options.tickets) keepTicket(options.tickets, place, link as QuicLink, environment.clock);
        resolve(link);
      },
      onFailure(error: QtunnelError): void {
        settled();
        reject(error.code === 'LINK_TIMEOUT' && !connection.established ? noAnswer(options.auth) : error);
      },
    };
    let connection: QuicConnection;
    try {
      connection = new QuicConnection(endpoint, native, peer, (self) =>
        ticket === null
          ? new ClientGreeting(self, options, outcome, HANDSHAKE_TIMEOUT)
          : new EarlyGreeting(self, options, outcome, HANDSHAKE_TIMEOUT, ticket),
      );
    } catch (error) {
      endpoint.forget();
      return reject(asQtunnelError(error));
    }
    signal.addEventListener('abort', abort, { once: true });
    endpoint.run(connection);
  });
}

/** Makes what `connectQuic` needs for links of this kind, so that those will not fail for the want of it. @throws QtunnelError `INTERNAL`. */
export function prepareQuic(options: ConfigOptions): void {
  configFor(options);
}

/**
 * The first id for the server, which names one of its workers, is quiche's choice; so connections are made until one names the worker that is meant. So
 * the links of a client with several workers go to several of the server's.
 */
function connectTo({ index, count }: Place, connect: () => QuicheConnection): QuicheConnection {
  for (let attempts = ATTEMPTS_PER_WORKER * count; ; attempts--) {
    const native = connect();
    if (attempts === 1 || placeOf(native.destinationId(), count) === index) return native;
  }
}

/** A ticket that may be used: its server is one that the client would trust now. */
async function takeTicket({ tickets, checkServer, auth }: QuicConnectOptions, { index }: Place): Promise<Ticket | null> {
  if (tickets === null || tickets === undefined || auth.key === null) return null;
  const ticket = await tickets.take(index);
  try {
    if (ticket !== null) checkServer([...ticket.chain]);
    return ticket;
  } catch {
    return null;
  }
}

/** A ticket that quiche does not take is none. */
function useTicket(native: QuicheConnection, ticket: Ticket | null): Ticket | null {
  try {
    if (ticket !== null) native.setSession(ticket.session);
    return ticket;
  } catch {
    return null;
  }
}

/** The server's ticket comes about when its WELCOME does; nobody says when. */
function keepTicket(tickets: TicketStore, place: Place, link: QuicLink, clock: Clock, attempts = TICKET_ATTEMPTS): void {
  clock.setTimer(() => {
    if (link.state === 'closed') return;
    const { session, chain } = madeTicket(link);
    const { wantsEndpoints } = link;
    if (session !== null && chain !== null) void tickets.keep(place.index, { session, chain, wantsEndpoints });
    else if (attempts > 1) keepTicket(tickets, place, link, clock, attempts - 1);
  }, TICKET_DELAY);
}

/** Nulls as long as there is none; a ticket that quiche does not give is none. */
function madeTicket({ connection: { native, established } }: QuicLink): {
  readonly session: Uint8Array | null;
  readonly chain: Uint8Array[] | null;
} {
  try {
    return { session: established ? native.session() : null, chain: native.peerCertChain() };
  } catch {
    return { session: null, chain: null };
  }
}

/** A server with a secret hears only clients whose own id shows that they know it. */
function ownId({ hmac, key, client = '' }: LinkAuth, date: number): Uint8Array {
  if (key === null) return randomBytes(CONNECTION_ID);
  const nonce = randomBytes(PROOF_NONCE);
  return new InitialProof(hmac, key).make(client === '' ? nonce : hintedNonce(hmac, key, nonce, date), date);
}

/** A server with a secret is silent to who does not show it. */
function noAnswer({ key }: LinkAuth): QtunnelError {
  const secret =
    key === null
      ? 'or it wants a secret'
      : `its secret differs, or the clocks of the two machines are more than ${CLOCK_WINDOW / 60} minutes apart`;
  return new QtunnelError('LINK_TIMEOUT', `No answer over UDP: it does not pass, no server listens there, ${secret}.`);
}

function givenUp(): QtunnelError {
  return new QtunnelError('ABORTED', 'The attempt to connect was given up.');
}

/**
 * A socket of its own with one connection on it, which looks for another way to the server, from a fresh socket, when
 *
 *     the machine's addresses change and the system would choose another      at once, found within a second
 *     the system refuses to send                                              at once, at most every MOVE_INTERVAL
 *     nothing is heard although something was asked                           after 2.5 s (protocol/liveness.ts), and again
 *     it has moved for one of the last two reasons, and the system would      LOOK_AGAIN later: what came back within a second,
 *     choose another address by now                                           the look at the addresses has not seen
 *     no socket could be had (out of descriptors, no route)                   LOOK_AGAIN later, if the system would choose another address
 */
class ClientEndpoint implements ConnectionHost, UdpHandler {
  readonly udp: MovingSocket;
  readonly clock: Clock;
  readonly #hmac: Hmac;
  readonly #stopWatching: () => void;
  #movedAt = -Infinity;
  #lookAgain: Timer | null = null;
  readonly #turns: Turns;
  #connection: QuicConnection | null = null;

  constructor(udp: MovingSocket, { clock, watchAddresses }: QuicEnvironment, hmac: Hmac) {
    this.udp = udp;
    this.#hmac = hmac;
    this.clock = clock;
    this.#turns = new Turns(clock);
    this.#stopWatching = watchAddresses?.(() => void this.#move(true)) ?? (() => {});
  }

  run(connection: QuicConnection): void {
    this.#connection = connection;
    this.udp.handler = this;
    connection.turn();
  }

  makePacketizer(sink: PacketSink): Packetizer {
    return new BlockPacketizer(this.udp, DATAGRAM_SIZES, this.clock, this.#hmac, sink);
  }

  schedule(connection: QuicConnection): void {
    this.#turns.schedule(connection);
  }

  forget(): void {
    this.#connection = null;
    this.#lookAgain?.cancel();
    this.#stopWatching();
    this.udp.close();
  }

  onDatagram(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    const connection = this.#connection;
    if (connection === null) return;
    if (connection.resetToken !== null && endsWithToken(bytes, offset, length, connection.resetToken)) {
      return connection.handleForgotten(
        new QtunnelError('LINK_LOST', 'The server was restarted: it does not know this link any more.'),
      );
    }
    connection.handleDatagram(bytes, offset, length, from);
  }

  handleSilence(): void {
    void this.#move(false);
  }

  /**
   * An ICMP message can be forged by anybody who guesses the ports, so it ends only an attempt to connect, which falls back or is made again.
   */
  onError(error: QtunnelError): void {
    const connection = this.#connection;
    if (connection === null) return;
    if (!connection.established) {
      if (error.code === 'LINK_REFUSED') connection.abandon(error);
    } else if (error.code === 'LINK_LOST' && this.clock.now() - this.#movedAt >= MOVE_INTERVAL) void this.#move(false);
  }

  async #move(onlyElsewhere: boolean): Promise<void> {
    if (this.#connection?.established !== true) return;
    this.#movedAt = this.clock.now();
    const moved = await this.udp.move(onlyElsewhere);
    if (moved === 'stays' || this.#connection === null) return;
    if (moved !== 'failed') {
      this.#connection.handleMove(moved);
      if (onlyElsewhere) return;
    }
    this.#lookAgain?.cancel();
    this.#lookAgain = this.clock.setTimer(() => void this.#move(true), LOOK_AGAIN);
  }
}

/** quiche's settings are shared by all connections with the same tuning and the same certificate. */
function configFor({ congestion, blocks, idleTimeout, datagrams, tickets, auth: { certificate } }: ConfigOptions): Config {
  const earlyData = tickets !== null && tickets !== undefined;
  const key = `${congestion} ${blocks} ${idleTimeout} ${datagrams === true} ${earlyData} ${certificate?.fingerprint}`;
  let config = configs.get(key);
  if (config === undefined) {
    config = clientConfig({ congestion, blocks, idleTimeout, earlyData, datagrams: datagrams === true }, certificate ?? undefined);
    configs.set(key, config);
  }
  return config;
}

type ConfigOptions = Pick<QuicConnectOptions, 'congestion' | 'blocks' | 'idleTimeout' | 'datagrams' | 'tickets' | 'auth'>;

const configs = new Map<string, Config>();
/** Milliseconds. */
const TICKET_DELAY = 500;
const TICKET_ATTEMPTS = 10;
const MOVE_INTERVAL = 500;
const LOOK_AGAIN = 2_000;
/** Enough that the links of 64 workers come out evenly; making one takes up to 0.2 ms. */
const ATTEMPTS_PER_WORKER = 16;
/** Milliseconds. A path with a round trip of 1.5 s that loses a packet of each flight still makes it. */
export const HANDSHAKE_TIMEOUT = 10_000;
