import { randomBytes } from 'node:crypto';
import { quiche, type Config, type Connection as QuicheConnection } from '@matrixai/quic/native/index.js';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import type { Link } from '../link/link.ts';
import { isOpen, type LinkListener, type Refusal, type ServerKeys, wantsCertificates } from '../link/options.ts';
import {
  CONNECTION_ID,
  ConnectionIdIssuer,
  ConnectionIdRouter,
  destinationId,
  MIN_STATELESS_RESET,
  packetForm,
  statelessReset,
} from '../protocol/connection-id.ts';
import type { IdCheck } from '../protocol/id-check.ts';
import type { LongHeader } from '../protocol/long-header.ts';
import { ALONE, type Place, placeId } from '../protocol/place.ts';
import type { BpfProgram } from '../udp/classic-bpf.ts';
import type { UdpAddress, UdpHandler, UdpSocket } from '../udp/socket.ts';
import { Admission, Budget, type Candidate } from './admission.ts';
import { CLOSE } from './close.ts';
import type { Clock } from './clock.ts';
import { DATAGRAM_SIZES, serverConfig } from './config.ts';
import { type ConnectionHost, QuicConnection } from './connection.ts';
import { datagramFilter } from './datagram-filter.ts';
import { environmentFor, type QuicEnvironment } from './environment.ts';
import { FloodGate } from './flood-gate.ts';
import { type GreetingOutcome, ServerGreeting } from './greeting.ts';
import type { QuicOptions } from './link-settings.ts';
import { ServerConfigs } from './server-configs.ts';
import type { Packetizer, PacketSink } from './packetization/packetizer.ts';
import { BlockPacketizer } from './packetization/blocks.ts';
import { Turns } from './turns.ts';

export type QuicListenOptions = QuicOptions;

/** Listens for links over QUIC. @throws QtunnelError `LISTEN_FAILED`. */
export async function listenQuic(
  address: UdpAddress,
  keys: ServerKeys,
  options: QuicListenOptions,
  environment: QuicEnvironment = environmentFor(options.udp),
): Promise<LinkListener<QuicListenOptions>> {
  const configs = configsOf(options, keys);
  return new QuicListener(await environment.openUdp({ bind: address }), environment, configs, keys, options);
}

/** One socket for all clients. Packets find their connection by the connection id that this side gave it. */
class QuicListener implements LinkListener<QuicListenOptions>, ConnectionHost, UdpHandler {
  readonly udp: UdpSocket;
  readonly clock: Clock;
  onLink: (link: Link) => void = () => {};
  onHandshakeFailure: (error: QtunnelError, peer: string) => void = () => {};
  hasRoom: LinkListener['hasRoom'] = () => true;
  refuseLink: LinkListener['refuseLink'] = () => null;
  onRefusal: (refusal: Refusal) => void = () => {};
  #options: QuicListenOptions;
  readonly #place: Place;
  readonly #turns: Turns;
  readonly #router = new ConnectionIdRouter<QuicConnection>();
  readonly #ids = new Map<QuicConnection, Uint8Array[]>();
  readonly #admission: Admission;
  #configs: ServerConfigs;
  #keys: ServerKeys;
  #issuer: ConnectionIdIssuer;
  readonly #gate: FloodGate;
  /** Of all ids that connections may have. */
  readonly #ownChecks: IdCheck[];
  #accepting = true;
  #handleClosed: () => void = () => {};
  readonly #closed = new Promise<void>((resolve) => (this.#handleClosed = resolve));
  readonly #resets: Budget;

  constructor(
    udp: UdpSocket,
    { clock, date, place }: QuicEnvironment,
    configs: ServerConfigs,
    keys: ServerKeys,
    options: QuicListenOptions,
  ) {
    this.udp = udp;
    this.clock = clock;
    this.#place = place ?? ALONE;
    this.#configs = configs;
    this.#keys = keys;
    this.#options = options;
    this.#issuer = issuerFor(keys, options, udp.address.port);
    this.#ownChecks = [this.#issuer.check];
    this.#turns = new Turns(clock);
    this.#admission = new Admission(clock, date, options);
    this.#admission.onRetry = (header, from) => this.#sendRetry(header, from);
    this.#admission.onRefusal = (refusal) => this.onRefusal(refusal);
    this.#admission.onTurnedAway = (error, from) => this.onHandshakeFailure(error, formatAddress(from));
    this.#resets = new Budget(clock, RESETS_PER_SECOND);
    this.#gate = new FloodGate(udp, clock, () => this.#filter());
    udp.handler = this;
  }

  get address(): UdpAddress {
    return this.udp.address;
  }

  get handshakes(): number {
    return this.#admission.open;
  }

  prepare(options: QuicListenOptions, keys: ServerKeys): () => void {
    const configs = configsOf(options, keys);
    const issuer = issuerFor(keys, options, this.udp.address.port);
    return () => {
      this.#options = options;
      this.#keys = keys;
      this.#configs = configs;
      this.#issuer = issuer;
      if (!this.#ownChecks.some(({ c }) => c === issuer.check.c)) this.#ownChecks.push(issuer.check);
      this.#admission.setOptions(options);
      this.#gate.refresh();
    };
  }

  async close(): Promise<void> {
    this.#accepting = false;
    for (const stranger of this.#admission.strangers) stranger.close(CLOSE.SHUTDOWN, STOPPED);
    this.#closeIfDone();
    await this.#closed;
  }

  makePacketizer(sink: PacketSink): Packetizer {
    return new BlockPacketizer(this.udp, DATAGRAM_SIZES, this.clock, this.#options.auth.hmac, sink);
  }

  handleSilence(): void {
    // The client's address is what it last sent from: there is no other to look for.
  }

  schedule(connection: QuicConnection): void {
    this.#turns.schedule(connection);
  }

  forget(connection: QuicConnection): void {
    for (const id of this.#ids.get(connection) ?? []) this.#router.delete(id);
    this.#ids.delete(connection);
    this.#admission.end(connection, false);
    this.#closeIfDone();
  }

  onDatagram(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    const form = packetForm(bytes[offset] ?? 0);
    if (form !== 'long' && form !== 'other' && length > CONNECTION_ID) {
      const known = this.#router.findAt(bytes, offset + 1, CONNECTION_ID);
      if (known !== undefined) return this.#pass(known, bytes, offset, length, from);
    }
    const id = destinationId(bytes, offset, length);
    if (id === null) return this.#gate.handleStranger();
    const connection = this.#router.find(id);
    if (connection !== undefined) this.#pass(connection, bytes, offset, length, from);
    else if (form === 'long') this.#judge(bytes, offset, length, from);
    else this.#sendReset(id, length, from);
  }

  onError(): void {
    // A datagram that could not be sent is a lost one; quiche sends again.
  }

  #pass(connection: QuicConnection, bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    if (this.#admission.passes(connection, bytes, offset, length)) connection.handleDatagram(bytes, offset, length, from);
  }

  #judge(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    if (!this.#accepting) return;
    const candidate = this.#admission.judge(bytes, offset, length, from);
    if (candidate === null) return this.#gate.handleStranger();
    const connection = this.#accept(candidate, this.#configs.configFor(bytes, offset, candidate.header), from);
    if (connection !== null) this.#pass(connection, bytes, offset, length, from);
  }

  #accept(candidate: Candidate, config: Config, from: UdpAddress): QuicConnection | null {
    const { header, original } = candidate;
    // After Retry the client uses the id that came with it.
    const id = original === null ? this.#issueId() : Uint8Array.from(header.destination);
    const native = this.#acceptNative(id, original, config, from);
    if (native === null) return null;
    const server = { certificateDer: this.#keys.certificateDer, resetToken: this.#issuer.resetToken(id) };
    const options = this.#options;
    const connection = new QuicConnection(this, native, from, (self) => {
      return new ServerGreeting(self, options, server, this.#outcome(self), options.strangers.timeout);
    });
    this.#admission.begin(connection, candidate);
    const ids = original === null ? [id, Uint8Array.from(header.destination)] : [id];
    this.#ids.set(connection, ids);
    for (const each of ids) this.#router.add(each, connection);
    return connection;
  }

  /** Null for an address that quiche cannot parse, such as a link-local one with its interface. */
  #acceptNative(id: Uint8Array, original: Uint8Array | null, config: Config, from: UdpAddress): QuicheConnection | null {
    try {
      return quiche.Connection.accept(id, original, this.udp.address, from, config);
    } catch {
      return null;
    }
  }

  #outcome(connection: QuicConnection): GreetingOutcome {
    const { peerName } = connection;
    return {
      refuse: (client) => {
        const refusal = this.refuseLink({ client, peer: connection.peerName });
        if (refusal !== null) this.#admission.end(connection, true);
        return refusal;
      },
      onLink: (link) => {
        this.#admission.end(connection, true);
        this.onLink(link);
      },
      onFailure: (error) => {
        this.#admission.end(connection, false);
        this.onHandshakeFailure(error, peerName);
      },
    };
  }

  /** The server keeps nothing of it: what it has to know comes back in the token. */
  #sendRetry(header: LongHeader, to: UdpAddress): void {
    const newId = this.#issueId();
    const token = this.#admission.retryToken(header, newId, to);
    try {
      const length = quiche.retry(header.source, header.destination, newId, token, QUIC_V1, this.udp.sendBuffer);
      this.udp.send(length, length, to);
    } catch {
      // The client asks again.
    }
  }

  #issueId(): Uint8Array {
    return this.#issuer.issue(placeId(randomBytes(CONNECTION_ID / 2), this.#place));
  }

  /** Tells a client of an earlier run of this server, and nobody else, that its connection is gone (docs/PROTOCOL.md). */
  #sendReset(id: Uint8Array, length: number, to: UdpAddress): void {
    // Only answers count: what strangers make up must not use up those of clients.
    if (length <= MIN_STATELESS_RESET + 1 || !this.#issuer.isOwn(id)) return this.#gate.handleStranger();
    if (!this.#resets.take()) return;
    // Shorter than what it answers, so that two that do not know each other fall silent (RFC 9000 §10.3.3).
    const packet = statelessReset(randomBytes(Math.min(length - 1, MAX_RESET)), this.#issuer.resetToken(id));
    this.udp.sendBuffer.set(packet);
    this.udp.send(packet.length, packet.length, to);
  }

  #filter(): BpfProgram {
    // Old connections keep the ids of an identity that is no longer used.
    const own = this.#ownChecks.length > MOST_CHECKS ? null : this.#ownChecks;
    return datagramFilter({ clients: this.#admission.checks, own });
  }

  #closeIfDone(): void {
    if (this.#accepting || this.#ids.size > 0) return;
    this.#gate.open();
    this.udp.close();
    this.#handleClosed();
  }
}

function configsOf(options: QuicListenOptions, keys: ServerKeys): ServerConfigs {
  const { auth } = options;
  // What makes early data safe is that the first packet shows the secret, and can be played once (Admission).
  const takesEarlyData = options.earlyData === true && !isOpen(auth);
  return new ServerConfigs(auth.hmac, takesEarlyData, (earlyData) =>
    serverConfig({ ...options, earlyData }, keys, wantsCertificates(auth)),
  );
}

/**
 * Made with a key of this port's own: two servers with one certificate must not make the same reset tokens, or each would tell a stranger those of the
 * other's clients (RFC 9000 §21.11).
 */
function issuerFor({ nodeKey }: ServerKeys, { auth }: QuicListenOptions, port: number): ConnectionIdIssuer {
  return new ConnectionIdIssuer(auth.hmac, auth.hmac(nodeKey, Uint8Array.of(port >>> 8, port)));
}

const STOPPED = new QtunnelError('SHUTTING_DOWN', 'The server takes no more clients.');
const QUIC_V1 = 1;
const MOST_CHECKS = 4;
const MAX_RESET = 43;
const RESETS_PER_SECOND = 200;
