import type { Connection as QuicheConnection, PathStats, RecvInfo } from '@matrixai/quic/native/index.js';
import { QtunnelError } from '../errors.ts';
import { NOTHING_YET } from '../link/link.ts';
import { formatAddress } from '../link/address.ts';
import type { UdpAddress, UdpSocket } from '../udp/socket.ts';
import { AckDelay } from './ack-delay.ts';
import type { Clock, Timer } from './clock.ts';
import { CLOSE, closeReason, type CloseCode, streamErrorCode } from './close.ts';
import type { Packetizer, PacketSink } from './packetization/packetizer.ts';
import { CONTROL_STREAM } from './stage.ts';
import type { Stage } from './stage.ts';
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
 *     5. timer      one, moved only when the deadline becomes earlier
 */
export class QuicConnection {
  readonly native: QuicheConnection;
  readonly packetizer: Packetizer;
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
  #finSeen = false;
  #wrote = false;
  /** Something besides acknowledgements may have to be sent. */
  #owes = true;
  readonly #acks = new AckDelay();
  /** Bytes of streams that may be sent before the handshake is complete. */
  #earlyRoom = MOST_EARLY;
  readonly #queue = new WriteQueue();
  /** quiche may hold datagrams that were not sent. */
  #holdsDatagrams = false;
  #pathAt = -Infinity;
  /** The packet with CONNECTION_CLOSE, once it was sent, and how many datagrams have come since. */
  #farewell: Uint8Array | null = null;
  #unheeded = 0;
  /** Streams that are still to be ended, and with which byte. */
  readonly #cuts = new Map<number, Uint8Array>();
  #timer: Timer | null = null;
  #timerAt = Infinity;
  #closing: QtunnelError | null = null;
  #closingUntil = Infinity;
  /** When the farewell is said once more. */
  #farewellAgainAt = Infinity;

  constructor(host: ConnectionHost, native: QuicheConnection, peer: UdpAddress, stage: (connection: QuicConnection) => Stage) {
    this.#host = host;
    this.native = native;
    this.peer = peer;
    this.#addresses = { from: peer, to: host.udp.address };
    this.packetizer = host.makePacketizer(this.#handlePacket);
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
    if (this.#farewell !== null) return this.#repeatFarewell(this.#farewell);
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
    this.#sendsLater = true;
    if (now >= this.#timerAt) this.#handleTimer();
    if (!this.#established && this.native.isEstablished()) this.#establish();
    // What a peer said with its CONNECTION_CLOSE comes before what its streams look like after it.
    if (this.#received && this.native.isDraining()) this.#reportEnd();
    if (this.#closing === null) this.#runStage(now);
    else if (now >= this.#farewellAgainAt) this.#sayFarewellAgain();
    this.#sendsLater = false;
    if (this.#closed) return;
    if (now - this.#pathAt >= PATH_INTERVAL) this.refreshPath();
    this.packetizer.handleTurn(this.peer);
    if (this.#cuts.size > 0 && this.#closing === null) this.#endCutStreams();
    if (this.#mayWait(now)) {
      this.packetizer.flush(this.peer);
      return this.#armTimer(now);
    }
    const rest = this.#transmit();
    if (this.native.isClosed() || this.native.isDraining()) this.#reportEnd();
    if (this.native.isClosed() || now >= this.#closingUntil) return this.#finish();
    if (rest === 'more' || (rest === 'nothing' && this.#queue.refused)) this.schedule();
    this.#queue.handleTurnEnd();
    this.#armTimer(now);
  }

  /**
   * Reads from a stream: bytes (`finSeen` says whether the last of them was read), or `NOTHING_YET`.
   * @throws StreamCut when the peer has reset the stream.
   */
  readStream(id: number, into: Uint8Array): number {
    this.#finSeen = false;
    let result;
    try {
      result = this.native.streamRecv(id, into);
    } catch (error) {
      throw new StreamCut(streamErrorCode(error));
    }
    if (result === null) return NOTHING_YET;
    this.#finSeen = result[1];
    return result[0];
  }

  /** The streams that have something to read. To list any costs 20 µs and more (docs/MEASURED.md); see `isReadable`. */
  listReadable(): number[] {
    return this.native.isReadable() ? [...this.native.readable()] : NO_STREAMS;
  }

  /** Whether this stream has something to read: bytes, its end, or a reset. */
  isReadable(id: number): boolean {
    return this.native.streamReadable(id);
  }

  /** Whether the last `readStream` came to the stream's end. */
  get finSeen(): boolean {
    return this.#finSeen;
  }

  /**
   * Writes to a stream and returns how many bytes were taken; 0 also when the congestion window is full. `fin` needs at least one byte, and counts
   * when all of them were taken.
   * @throws StreamCut when the peer has stopped the stream.
   */
  writeStream(id: number, bytes: Uint8Array, fin: boolean): number {
    const queued = this.#queue.room(bytes.length, id === CONTROL_STREAM ? null : this.packetizer.rate);
    const room = this.#established ? queued : Math.min(queued, this.#earlyRoom);
    const isCut = bytes.length > room;
    if (isCut && room === 0) return 0;
    try {
      const taken = this.native.streamSend(id, isCut ? bytes.subarray(0, room) : bytes, fin && !isCut) ?? 0;
      this.#queue.handleTaken(taken);
      if (!this.#established) this.#earlyRoom -= taken;
      // When nothing was taken there is nothing to send: what makes room is an acknowledgement, which comes with a turn of its own.
      if (taken > 0) {
        this.#wrote = this.#owes = true;
        this.scheduleSending();
      }
      return taken;
    } catch (error) {
      throw new StreamCut(streamErrorCode(error));
    }
  }

  /** Whether so many bytes of datagrams may wait for the path with those that do. */
  hasRoomForDatagram(bytes: number): boolean {
    try {
      return this.native.dgramSendQueueByteSize() + bytes <= MOST_DATAGRAM_BYTES;
    } catch {
      // Whatever it is, the next turn meets it as well.
      return false;
    }
  }

  /** Sends a DATAGRAM frame (RFC 9221) with these bytes, at most `DATAGRAM_PART`; false when the peer takes none or too many wait. */
  sendDatagram(bytes: Uint8Array): boolean {
    try {
      if (this.native.dgramSend(bytes) === null) return false;
    } catch {
      // The peer takes none, or none as large.
      return false;
    }
    this.#wrote = this.#owes = this.#holdsDatagrams = true;
    this.scheduleSending();
    return true;
  }

  /** The bytes of the next DATAGRAM frame that has come; null when there is none. Valid until the next call, of any connection. */
  receiveDatagram(): Uint8Array | null {
    const length = this.native.dgramRecv(DATAGRAM);
    return length === null ? null : DATAGRAM.subarray(0, length);
  }

  /** Whether anything was written since the last call: something that the peer will acknowledge. */
  takeWrote(): boolean {
    const wrote = this.#wrote;
    this.#wrote = false;
    return wrote;
  }

  /** Reads what has come on a stream, and its end or reset if that has, and drops it: quiche keeps a stream until then. */
  discard(id: number): void {
    try {
      let n;
      do n = this.isReadable(id) ? this.readStream(id, RUBBISH) : NOTHING_YET;
      while (n > 0);
    } catch {
      // The peer has reset it.
    }
  }

  /** Ends a stream that this side writes and has not ended, with `mark` as its last byte, as soon as quiche has room for that. */
  cutWriting(id: number, mark: Uint8Array): void {
    this.#cuts.set(id, mark);
    this.schedule();
  }

  /** Whether quiche may be given so many bytes of streams now; if not, a turn will come when it may be given more. */
  hasRoom(bytes: number): boolean {
    return this.#queue.room(bytes, this.packetizer.rate) >= bytes;
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

  /**
   * Whether quiche still has something to do for a stream that FIN was written to: unread, unsent or unacknowledged. Only for such a stream; another would
   * be written to. (`streamCapacity` tells it of any stream, but by throwing, which costs 5 µs.)
   */
  isEndPending(id: number): boolean {
    try {
      return this.native.streamSend(id, NOTHING, false) !== null;
    } catch {
      // FinalSize: quiche remembers the end.
      return true;
    }
  }

  /** Ends the connection with CONNECTION_CLOSE. `stage.onClosed` is called with `reason` before this returns. */
  close(code: CloseCode, reason: QtunnelError): void {
    if (this.#closed || this.#closing !== null) return;
    try {
      // What the handshake still owes goes first: CONNECTION_CLOSE would wait behind it, sent again and again to a peer that no longer answers.
      if (!this.holdsSecrets || !this.native.isEstablished()) this.#transmit();
      this.packetizer.finish();
      this.native.close(true, code, Buffer.from(reason.message.slice(0, MAX_REASON)));
    } catch {
      // It is closing already.
    }
    this.#end(reason);
    const now = this.clock.now();
    this.#closingUntil = now + LONGEST_CLOSING;
    this.turn();
    if (this.#closed) return;
    this.#farewellAgainAt = now + Math.min(LONGEST_CLOSING, this.native.timeout() ?? LONGEST_CLOSING) / 2;
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

  #establish(): void {
    this.#established = true;
    this.#owes = true;
    this.stage.onEstablished();
  }

  /**
   * A NAT gives its client another address when it has forgotten it. As in WireGuard, the peer is where its last packet came from that decrypts;
   * a forwarder of copies could turn the answers away until the next such packet, which whoever can do that could do anyway.
   */
  #handleElsewhere(bytes: Uint8Array, offset: number, length: number, from: UdpAddress): void {
    const known = from.port === this.peer.port && from.host === this.peer.host;
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
          if (this.#closing !== null) this.#farewell = packet.slice(0, sent[0]);
          this.#queue.handleSent(sent[0]);
          packetizer.push(sent[0], this.peer, this.#queue.holdsData, this.#holdsDatagrams);
        }
      }
    } catch {
      rest = 'nothing';
    }
    if (rest === 'nothing') {
      this.#queue.handleEmpty();
      this.#holdsDatagrams = false;
      if (!this.#queue.refused) packetizer.handleIdle();
    }
    packetizer.flush(this.peer);
    this.#owes = rest !== 'nothing';
    return rest;
  }

  /** RFC 9000 §10.2.1: a peer that goes on has missed CONNECTION_CLOSE. It is told again at its first datagram, its second, its fourth … */
  #repeatFarewell(farewell: Uint8Array): void {
    const n = ++this.#unheeded;
    if ((n & (n - 1)) === 0) this.#sendFarewell(farewell);
  }

  /** A peer that has missed CONNECTION_CLOSE and has nothing to say would find out at its next keepalive, when nobody here knows any more why. */
  #sayFarewellAgain(): void {
    this.#farewellAgainAt = Infinity;
    if (this.#farewell !== null) this.#sendFarewell(this.#farewell);
  }

  #sendFarewell(farewell: Uint8Array): void {
    this.packetizer.packetBuffer().set(farewell);
    this.packetizer.push(farewell.length, this.peer, false);
    this.packetizer.flush(this.peer);
  }

  /**
   * Not with RESET_STREAM: when bytes of the stream wait in quiche, its sender never forgets the stream, and when the stream's end has come before, unread, its
   * receiver does not (quiche 0.18).
   */
  #endCutStreams(): void {
    for (const [id, mark] of this.#cuts) {
      try {
        // Null: there is no room, for the others neither.
        if (this.native.streamSend(id, mark, true) === null) return;
        this.#owes = true;
      } catch {
        // The peer has stopped it.
      }
      this.#cuts.delete(id);
    }
  }

  /** Whether there is nothing to send but acknowledgements that have time. */
  #mayWait(now: number): boolean {
    return !this.#owes && this.#closing === null && this.#established && this.#acks.mayWait(now);
  }

  #handleTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#timerAt = Infinity;
    if (this.native.timeout() === 0) this.#owes = true;
    this.native.onTimeout();
  }

  #armTimer(now: number): void {
    const own = this.native.timeout();
    const ours =
      this.#closing === null
        ? Math.min(this.stage.deadline(now), this.packetizer.deadline())
        : Math.min(this.#closingUntil, this.#farewellAgainAt);
    const deadline = Math.min(own === null ? Infinity : now + own, ours, this.#acks.deadline);
    // A timer that fires too early costs one empty turn; moving it at each turn costs more (docs/MEASURED.md).
    if (deadline >= this.#timerAt || deadline === Infinity) return;
    this.#timer?.cancel();
    this.#timerAt = deadline;
    this.#timer = this.clock.setTimer(this.#onTimer, Math.max(0, deadline - now));
  }

  readonly #onTimer = (): void => {
    // The clock's timers may be a fraction of a millisecond early.
    this.#timerAt = -Infinity;
    this.turn();
  };

  #reportEnd(): void {
    if (this.#closing === null) this.#end(closeReason(this.native, this.#established));
  }

  #end(reason: QtunnelError): void {
    this.#closing = reason;
    this.stage.onClosed(reason);
  }

  #finish(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = null;
    this.packetizer.close();
    this.#host.forget(this);
  }
}

/** The binding's errors have one of napi's names as their code; an error of ours has none, or one of Node's. */
function isFromBinding(error: unknown): error is Error {
  const { code } = error as NodeJS.ErrnoException;
  return error instanceof Error && (code === 'GenericFailure' || code === 'InvalidArg');
}

/** The peer reset or stopped a stream; `code` is its application error code, or -1 when quiche does not say. */
export class StreamCut extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`stream cut off with code ${code}`);
    this.code = code;
  }
}

/**
 * Packets a connection makes before others get their turn: at 8 µs each half a millisecond, short against any network's round trip, long
 * enough that a turn's fixed cost (about 30 µs) is small.
 */
const PACKETS_PER_TURN = 64;
type Counts = Pick<ReturnType<QuicheConnection['stats']>, 'recv' | 'sent' | 'lost' | 'sentBytes' | 'recvBytes'>;
const UNCOUNTED: Counts = { recv: NaN, sent: NaN, lost: NaN, sentBytes: NaN, recvBytes: NaN };
const MAX_PATH_EVENTS = 64;
/** Bytes: about as much as ten datagrams carry (RFC 9002 §7.2), and less than a server takes of a stranger. */
const MOST_EARLY = 12_000;
const NO_STREAMS: number[] = [];
const NOTHING = new Uint8Array(0);
const RUBBISH = new Uint8Array(65_536);
/** Bytes: the largest packet's. */
const DATAGRAM = new Uint8Array(16_384);
/** Bytes of DATAGRAM frames: small enough that they fit into any packet. */
export const DATAGRAM_PART = 1_200;
/** Bytes of datagrams that wait for the path: four of the largest. */
const MOST_DATAGRAM_BYTES = 256 * 1024;
/** Milliseconds. Asking quiche costs 7 µs and a dozen objects. */
const PATH_INTERVAL = 20;
const MAX_REASON = 200;
/** Milliseconds in which a peer that missed CONNECTION_CLOSE may ask again; quiche's own three probe timeouts are mostly shorter. */
const LONGEST_CLOSING = 1_000;
