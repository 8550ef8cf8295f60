import type { Connection as QuicheConnection, PathStats, RecvInfo } from '@matrixai/quic/native/index.js';
import { QtunnelError } from '../errors.ts';
import { formatAddress } from '../link/address.ts';
import { isSamePeer, type UdpAddress, type UdpSocket } from '../udp/socket.ts';
import { AckDelay } from './ack-delay.ts';
import type { Clock } from './clock.ts';
import { CLOSE, closeReason, type CloseCode } from './close.ts';
import { Farewell } from './farewell.ts';
import type { Packetizer, PacketSink } from './packetization/packetizer.ts';
import { QuicheDatagrams } from './quiche-datagrams.ts';
import { QuicheStreams } from './quiche-streams.ts';
import type { Stage } from './stage.ts';
import { TurnTimer } from './turn-timer.ts';
import { WriteQueue } from './write-queue.ts';

/** What a connection needs of the endpoint that it belongs to. */
export interface ConnectionHost {
  readonly udp: UdpSocket;
  readonly clock: Clock;
  makePacketizer(sink: PacketSink): Packetizer;
  /** Nothing is heard from the peer although something was asked: perhaps there is another way to it. */
  handleSilence(): void;
  /** Asks for a turn soon. */
  schedule(connection: QuicConnection): void;
  /** The connection has ended and will send nothing more. */
  forget(connection: QuicConnection): void;
}

/**
 * Runs one quiche connection. Everything happens in turns, of which each is bounded:
 *
 *     1. datagrams  handleDatagram → packetizer → quiche.recv           as they come in, before the turn
 *     2. streams    stage.onReceived: read what quiche has              bounded by the readers' own budgets
 *     3. control    stage.onTurn: credit, keepalives, blocked writers
 *     4. packets    quiche.send → packetizer → UDP                      PACKETS_PER_TURN, then another turn is asked for
 *     5. timer      for the next turn (turn-timer.ts)
 */
export class QuicConnection {
  readonly native: QuicheConnection;
  readonly packetizer: Packetizer;
  readonly streams: QuicheStreams;
  readonly datagrams: QuicheDatagrams;
  /** Whether a turn has been asked for; the endpoint's own mark. */
  scheduled = false;
  stage: Stage;
  peer: UdpAddress;
  /** A datagram that ends with these 16 bytes says that the peer no longer knows this connection. Null until the peer has told them. */
  resetToken: Uint8Array | null = null;
  /**
   * What was written is for the server of a ticket. When the handshake turns out to be with another, quiche would send it again to that one, so nothing is sent between the end of the
   * handshake and the judgement on the certificate.
   */
  holdsSecrets = false;
  /**
   * A client says something before WELCOME, of which the streams have a bound until then, also when the handshake is complete: the server takes little of a client that it does not know, and what
   * of the first flight was lost or refused, HELLO among it, may have to come behind all that was written since.
   */
  isEarly = false;
  /** What quiche last said of the path, at most `PATH_INTERVAL` ago while there was traffic; null before the first turn. */
  path: PathStats | null = null;
  /** Bytes of packets that quiche was given. */
  received = 0;
  readonly #host: ConnectionHost;
  /**
   * The addresses that quiche is told for every packet: those of the first. It follows a peer that moves, but sends no more than two of the
   * packets that were under way to the old address again.
   */
  readonly #addresses: RecvInfo;
  #established = false;
  #received = false;
  #closed = false;
  /** A turn is under way and has not sent yet. */
  #sendsLater = false;
  #wrote = false;
  /** Something besides acknowledgements may have to be sent. */
  #owes = true;
  readonly #acks = new AckDelay();
  readonly #queue = new WriteQueue();
  #pathAt = -Infinity;
  readonly #farewell = new Farewell();
  readonly #timer: TurnTimer;
  #closing: QtunnelError | null = null;

  constructor(host: ConnectionHost, native: QuicheConnection, peer: UdpAddress, stage: (connection: QuicConnection) => Stage) {
    this.#host = host;
    this.native = native;
    this.peer = peer;
    this.#addresses = { from: peer, to: host.udp.address };
    this.packetizer = host.makePacketizer(this.#handlePacket);
    this.streams = new QuicheStreams(native, this.packetizer, this.#queue, this.#handleWritten);
    this.datagrams = new QuicheDatagrams(native, this.#handleWritten);
    this.#timer = new TurnTimer(host.clock, () => this.turn());
    try {
      this.stage = stage(this);
    } catch (error) {
      // It may have asked for a turn already.
      this.#closed = true;
      this.packetizer.close();
      throw error;
    }
  }

  get clock(): Clock {
    return this.#host.clock;
  }

  /** Which kind of UDP socket this is. */
  get udp(): string {
    return this.#host.udp.kind;
  }

  get established(): boolean {
    return this.#established;
  }

  /** The peer's address for people. */
  get peerName(): string {
    return formatAddress(this.peer);
  }

  handleDatagram(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    if (this.#closed) return;
    if (this.#farewell.isSaid) return this.#say(this.#farewell.handleDatagram());
    if (from === this.peer) this.packetizer.handleDatagram(bytes, offset, length);
    else this.#handleElsewhere(bytes, offset, length, from);
    this.#received = true;
    this.schedule();
  }

  handleSilence(): void {
    this.#host.handleSilence();
  }

  /** This side sends from another address from now on; the peer is told at once. */
  handleMove(local: UdpAddress): void {
    if (this.#closed || this.#closing !== null) return;
    this.ping();
    this.packetizer.handleMove();
    this.stage.onMove(local);
    this.schedule();
  }

  /** Asks for a turn in which the stage is told once more what can be read. */
  lookAgain(): void {
    this.#received = true;
    this.schedule();
  }

  schedule(): void {
    if (!this.#closed) this.#host.schedule(this);
  }

  /** Has what was written sent: by the turn that is under way, if it has not come to that yet. */
  scheduleSending(): void {
    if (!this.#sendsLater) this.schedule();
  }

  /** One turn; see the class. Called by the endpoint. */
  turn(): void {
    try {
      this.#takeTurn();
    } catch (error) {
      this.#handleFailure(error);
    }
  }

  #takeTurn(): void {
    if (this.#closed) return;
    const now = this.clock.now();
    if (this.#timer.listensFirst(now, !this.#received && this.#closing === null)) return;
    this.#sendsLater = true;
    if (this.#timer.isDue(now)) this.#handleTimer();
    if (this.#received) this.#finishHandshake();
    if (!this.#established && this.native.isEstablished()) this.#establish();
    // What a peer said with its CONNECTION_CLOSE comes before what its streams look like after it.
    if (this.#received && this.native.isDraining()) this.#reportEnd();
    if (this.#closing === null) this.#runStage(now);
    else this.#say(this.#farewell.takeDue(now));
    this.#sendsLater = false;
    if (this.#closed) return;
    if (now - this.#pathAt >= PATH_INTERVAL) this.refreshPath();
    this.packetizer.handleTurn(this.peer);
    if (this.#closing === null && this.streams.endCut()) this.#owes = true;
    if (this.#mayWait(now)) {
      this.packetizer.flush(this.peer);
      return this.#armTimer(now);
    }
    const rest = this.#transmit();
    if (this.native.isClosed() || this.native.isDraining()) this.#reportEnd();
    if (this.native.isClosed() || this.#farewell.isOver(now)) return this.#finish();
    if (rest === 'more' || (rest === 'nothing' && this.#queue.refused)) this.schedule();
    this.#queue.handleTurnEnd();
    this.#armTimer(now);
  }

  /** Whether anything was written since the last call: something that the peer will acknowledge. */
  takeWrote(): boolean {
    const wrote = this.#wrote;
    this.#wrote = false;
    return wrote;
  }

  /** Ends a stream that this side writes and has not ended, with `mark` as its last byte, as soon as quiche has room for that. */
  cutWriting(id: number, mark: Uint8Array): void {
    this.streams.cut(id, mark);
    this.schedule();
  }

  /** Has the next packet acknowledged, whatever is in it. */
  ping(): void {
    try {
      this.native.sendAckEliciting();
      this.#owes = true;
    } catch {
      // The connection is ending; what asked will ask again if not.
    }
  }

  /** WELCOME has come to a client that `isEarly`. */
  handleWelcome(): void {
    this.isEarly = false;
    this.streams.liftEarlyBound();
  }

  /** Ends the connection with CONNECTION_CLOSE. `stage.onClosed` is called with `reason` before this returns. */
  close(code: CloseCode, reason: QtunnelError): void {
    if (this.#closed || this.#closing !== null) return;
    try {
      this.#finishHandshake();
      // What the handshake still owes goes first: CONNECTION_CLOSE would wait behind it, sent again and again to a peer that no longer answers.
      if (!this.holdsSecrets || !this.native.isEstablished()) this.#transmit();
      this.packetizer.finish();
      this.native.close(true, code, Buffer.from(reason.message.slice(0, MAX_REASON)));
    } catch {
      // It is closing already.
    }
    this.#end(reason);
    const now = this.clock.now();
    this.#farewell.begin(now);
    this.turn();
    if (this.#closed) return;
    this.#farewell.planAgain(now, this.native.timeout());
    this.#armTimer(now);
  }

  /** The peer says that it does not know this connection any more. What it said before that, perhaps just before, comes first. */
  handleForgotten(reason: QtunnelError): void {
    if (this.#received) this.turn();
    this.abandon(reason);
  }

  /** Gives the connection up without a word, because the peer said that it does not know it. */
  abandon(reason: QtunnelError): void {
    if (this.#closed) return;
    if (this.#closing === null) this.#end(reason);
    this.#finish();
  }

  /** A call into quiche that fails where nothing else is to be done about it ends this connection, and no other. */
  #handleFailure(error: unknown): void {
    if (!isFromBinding(error)) throw error;
    const message = `The QUIC library failed (${error.message}); the link is given up.`;
    const reason = new QtunnelError('INTERNAL', message, { cause: error });
    this.#sendsLater = false;
    if (this.#closing === null) this.close(CLOSE.INTERNAL, reason);
    else this.abandon(reason);
  }

  readonly #handleWritten = (): void => {
    this.#wrote = this.#owes = true;
    this.scheduleSending();
  };

  #say(farewell: Uint8Array | null): void {
    if (farewell === null) return;
    this.packetizer.packetBuffer().set(farewell);
    this.packetizer.push(farewell.length, this.peer, false);
    this.packetizer.flush(this.peer);
  }

  readonly #handlePacket = (packet: Uint8Array): void => {
    this.#acks.handlePacket(packet.length);
    this.received += packet.length;
    try {
      this.native.recv(packet, this.#addresses);
    } catch {
      // What does not decrypt is dropped silently; this is for packets that break the protocol, after which quiche closes the connection
      // by itself: `turn` finds it draining and reports why.
    }
  };

  #runStage(now: number): void {
    if (this.#received && (this.#established || this.native.isInEarlyData())) {
      this.#received = false;
      this.#acks.handleReceived(now);
      this.#drainPathEvents();
      this.stage.onReceived(now);
    }
    // What was received may have ended the connection.
    if (this.#closing === null) this.stage.onTurn(now);
  }

  /** What quiche has counted; NaN when it does not say. */
  count(): Counts {
    try {
      return this.native.stats();
    } catch {
      return UNCOUNTED;
    }
  }

  /** Asks quiche how the path does; see `path`. */
  refreshPath(): void {
    this.#pathAt = this.clock.now();
    this.path = this.native.pathStats().find((candidate) => candidate.active) ?? this.path;
  }

  /**
   * When early data was refused, quiche may leave the end of the handshake to its next `send`, which would take along what was written since. A packet that has no room completes the handshake
   * without sending anything.
   */
  #finishHandshake(): void {
    if (!this.holdsSecrets || this.#established || this.native.isInEarlyData()) return;
    try {
      this.native.send(NO_ROOM);
    } catch {
      // The handshake has failed, of which quiche tells the peer in the packets of this turn.
    }
  }

  #establish(): void {
    this.#established = true;
    this.#owes = true;
    if (!this.isEarly) this.streams.liftEarlyBound();
    this.stage.onEstablished();
  }

  /**
   * A NAT gives its client another address when it has forgotten it. As in WireGuard, the peer is where its last packet came from that decrypts;
   * a forwarder of copies could turn the answers away until the next such packet, which whoever can do that could do anyway.
   */
  #handleElsewhere(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    const known = isSamePeer(from, this.peer);
    const before = known ? 0 : this.count().recv;
    const isGenuine = this.packetizer.handleDatagram(bytes, offset, length);
    if (known || isGenuine || (this.#established && this.count().recv > before)) this.peer = from;
  }

  /** A peer can make these without end (CVE-2026-12707), so they are taken out at each turn. */
  #drainPathEvents(): void {
    for (let left = MAX_PATH_EVENTS; left > 0; left--) {
      const event = this.native.pathEventNext() as ReturnType<QuicheConnection['pathEventNext']> | null;
      if (event === null || event === undefined) return;
    }
  }

  /** What is left when the turn's share has been sent: nothing, more, or what the path does not take yet. */
  #transmit(): 'nothing' | 'more' | 'waiting' {
    const { native, packetizer } = this;
    this.#acks.handleSent();
    let rest: 'nothing' | 'more' | 'waiting' = 'more';
    try {
      for (let budget = PACKETS_PER_TURN; budget > 0 && rest === 'more'; budget--) {
        if (!packetizer.hasRoom()) {
          rest = 'waiting';
          break;
        }
        const packet = packetizer.packetBuffer();
        const sent = native.send(packet);
        if (sent === null) rest = 'nothing';
        else {
          if (this.#closing !== null) this.#farewell.handleSent(packet.subarray(0, sent[0]));
          this.#queue.handleSent(sent[0]);
          packetizer.push(sent[0], this.peer, this.#queue.holdsData, this.datagrams.waiting);
        }
      }
    } catch {
      rest = 'nothing';
    }
    if (rest === 'nothing') {
      this.#queue.handleEmpty();
      this.datagrams.handleEmpty();
      if (!this.#queue.refused) packetizer.handleIdle();
    }
    packetizer.flush(this.peer);
    this.#owes = rest !== 'nothing';
    return rest;
  }

  /** Whether there is nothing to send but acknowledgements that have time. */
  #mayWait(now: number): boolean {
    return !this.#owes && this.#closing === null && this.#established && this.#acks.mayWait(now);
  }

  #handleTimer(): void {
    this.#timer.clear();
    if (this.native.timeout() === 0) this.#owes = true;
    this.native.onTimeout();
  }

  #armTimer(now: number): void {
    const own = this.native.timeout();
    const ours = this.#closing === null ? Math.min(this.stage.deadline(now), this.packetizer.deadline()) : this.#farewell.deadline;
    this.#timer.arm(Math.min(own === null ? Infinity : now + own, ours, this.#acks.deadline), now);
  }

  #reportEnd(): void {
    if (this.#closing === null) this.#end(closeReason(this.native, this.#established));
  }

  #end(reason: QtunnelError): void {
    this.#closing = reason;
    this.stage.onClosed(reason);
  }

  #finish(): void {
    this.#closed = true;
    this.#timer.clear();
    this.packetizer.close();
    this.#host.forget(this);
  }
}

/** The binding's errors have one of napi's names as their code; an error of ours has none, or one of Node's. */
function isFromBinding(error: unknown): error is Error {
  const { code } = error as NodeJS.ErrnoException;
  return error instanceof Error && (code === 'GenericFailure' || code === 'InvalidArg');
}

/**
 * Packets a connection makes before others get their turn: at 8 µs each half a millisecond, short against any network's round trip, long
 * enough that a turn's fixed cost (about 30 µs) is small.
 */
const PACKETS_PER_TURN = 64;
type Counts = Pick<ReturnType<QuicheConnection['stats']>, 'recv' | 'sent' | 'lost' | 'sentBytes' | 'recvBytes'>;
const UNCOUNTED: Counts = { recv: NaN, sent: NaN, lost: NaN, sentBytes: NaN, recvBytes: NaN };
const NO_ROOM = new Uint8Array(1);
const MAX_PATH_EVENTS = 64;
/** Milliseconds. Asking quiche costs 7 µs and a dozen objects. */
const PATH_INTERVAL = 20;
const MAX_REASON = 200;
