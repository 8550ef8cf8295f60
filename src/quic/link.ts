import { formatAddress } from '../link/address.ts';
import { Datagrams } from '../link/datagrams.ts';
import { asQtunnelError, QtunnelError } from '../errors.ts';
import type { Link, LinkHandler, LinkState, LinkStats, LinkStream, OpenRequest } from '../link/link.ts';
import { CreditBudget, ReceiveCredit, SendCredit } from '../protocol/credit.ts';
import { FRAME, misplacedFrame } from '../protocol/frames.ts';
import { Liveness, STALL } from '../protocol/liveness.ts';
import {
  decodeCredit,
  decodeFin,
  decodeGoAway,
  decodeMove,
  decodeOpen,
  decodePing,
  decodeReset,
  decodeSmall,
  encodeCredit,
  encodeFin,
  encodeGoAway,
  encodeMove,
  encodeOpen,
  encodePing,
  encodeReset,
  type LinkSettings,
  MAX_SMALL,
} from '../protocol/messages.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { StreamNumbers } from '../protocol/stream-numbers.ts';
import type { UdpAddress } from '../udp/socket.ts';
import { CLOSE, closeCodeFor } from './close.ts';
import type { QuicConnection } from './connection.ts';
import type { ControlStream } from './control-stream.ts';
import type { QuicOptions } from './link-settings.ts';
import { Lingering } from './lingering.ts';
import { statsOf } from './link-stats.ts';
import { MovedStreams } from './moved-streams.ts';
import type { DirectionKeys } from './packetization/packetizer.ts';
import { QuicIds } from './quic-ids.ts';
import { DATAGRAM_PART } from './quiche-datagrams.ts';
import { CONTROL_STREAM, type Stage } from './stage.ts';
import { QuicStream, type StreamHost } from './stream.ts';
import { StreamTurns } from './stream-turns.ts';

/**
 * A link whose streams share one QUIC connection: small writes on its control stream, the others on QUIC streams of their own (stream.ts). It is the
 * connection's stage from HELLO and WELCOME to the end.
 */
export class QuicLink implements Link, Stage, StreamHost {
  readonly transport = 'quic';
  readonly id: string;
  readonly connection: QuicConnection;
  readonly client: string;
  handler: LinkHandler = NOBODY;
  readonly #control: ControlStream;
  readonly #options: QuicOptions;
  readonly #role: 'client' | 'server';
  readonly #own: LinkSettings;
  #peer: LinkSettings;
  readonly #shards: DirectionKeys;
  #reports: DirectionKeys | null;
  readonly #liveness: Liveness;
  readonly #budget: CreditBudget;
  mostSmall: number;
  readonly #numbers: StreamNumbers;
  readonly #quicIds: QuicIds;
  readonly #streams = new Map<number, QuicStream>();
  readonly #moved: MovedStreams;
  readonly #turns = new StreamTurns();
  /** Null when this side takes none. */
  readonly #datagrams: Datagrams | null;
  readonly #lingering: Lingering;
  /** This side, and the peer, has said that it is draining and has no streams left. */
  #saidDrained = false;
  #peerDrained = false;
  /** The peer opens no more streams. */
  #peerGoesAway = false;
  /** When to look for another way to a peer that is silent, at the earliest. */
  #searchAt = 0;
  #state: LinkState = 'up';
  #opened = 0;
  #accepted = 0;

  constructor(
    connection: QuicConnection,
    control: ControlStream,
    options: QuicOptions,
    link: {
      id: string;
      client?: string;
      role: 'client' | 'server';
      own: LinkSettings;
      peer: LinkSettings;
      /** What shards are authenticated with. */
      shards: DirectionKeys;
      /** The same of reports. Null on a client that has not heard WELCOME: `confirm` follows, and `peer` is what every server allows. */
      reports: DirectionKeys | null;
    },
  ) {
    this.id = link.id;
    this.client = link.client ?? '';
    this.connection = connection;
    this.#control = control;
    this.#options = options;
    this.#role = link.role;
    this.#own = link.own;
    this.#peer = link.peer;
    this.#numbers = new StreamNumbers(link.role);
    this.#quicIds = new QuicIds(link.role);
    this.#moved = new MovedStreams(this, this.#quicIds, options.maxStreams + UNTOLD);
    this.#datagrams = link.own.datagrams > 0 ? new Datagrams(this.#datagramHost(), DATAGRAM_PART) : null;
    this.#lingering = new Lingering((id) => connection.streams.isEndPending(id));
    const shards = Math.min(link.own.shards, link.peer.shards);
    // Without blocks a lost packet holds up its own QUIC stream only, which is worth more than fewer packets.
    this.mostSmall = shards > 0 ? MAX_SMALL : 0;
    const idleTimeout = Math.min(options.idleTimeout, link.peer.idleTimeout);
    // The client's pings are enough; the server's own come only when those do not.
    const keepalive = options.keepalive * (link.role === 'client' ? 1 : 2);
    connection.refreshPath();
    const rtt = connection.established ? (connection.path?.rtt ?? 0) : 0;
    this.#liveness = new Liveness({
      keepalive,
      idleTimeout: Math.max(idleTimeout, MIN_IDLE_TIMEOUT),
      stall: Math.max(options.stall ?? STALL, 3 * rtt),
      now: connection.clock.now(),
    });
    // What the greeting wrote has been answered: it must not count as a question that nobody answers.
    connection.takeWrote();
    this.#budget = new CreditBudget(BUDGET_STREAMS * options.buffer);
    this.#reports = link.reports;
    this.#shards = link.shards;
    connection.packetizer.acceptBlocks(link.shards.fromPeer);
    if (connection.established) this.#startBlocks();
    // Small writes, credit and resets go before bulk data.
    connection.native.streamPriority(CONTROL_STREAM, MOST_URGENT, false);
    if (link.reports !== null) control.onFrame = this.#onFrame;
  }

  /** The server has proven itself, and said what it allows. */
  confirm(peer: LinkSettings, reports: DirectionKeys): void {
    this.#peer = peer;
    this.#reports = reports;
    this.mostSmall = Math.min(this.#own.shards, peer.shards) > 0 ? MAX_SMALL : 0;
    this.#startBlocks();
    this.#control.onFrame = this.#onFrame;
    for (const stream of [...this.#streams.values()]) stream.handleCredit(peer.initialCredit);
  }

  get peer(): string {
    return this.connection.peerName;
  }

  get udp(): string {
    return this.connection.udp;
  }

  get state(): LinkState {
    return this.#state;
  }

  get wantsEndpoints(): boolean {
    return this.#peer.endpoints === 1;
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Bytes that the streams' peers may have under way or waiting here. */
  get promised(): number {
    return this.#budget.taken;
  }

  open(request: OpenRequest): LinkStream {
    if (this.#state === 'draining' || this.#state === 'closed')
      throw new QtunnelError('LINK_CLOSED', 'The link takes no new streams.');
    if (this.#role === 'server' && !this.#serverOpens)
      throw new QtunnelError('STREAM_LIMIT', 'The client takes no streams that the server opens.');
    if (this.#opened >= this.#peer.maxStreams) {
      throw new QtunnelError('STREAM_LIMIT', `The peer allows ${this.#peer.maxStreams} streams at once; all are in use.`);
    }
    if (this.#control.pending > MOST_PENDING) throw new QtunnelError('STREAM_LIMIT', 'The peer does not take what waits for it.');
    const id = this.#numbers.next();
    this.#opened++;
    const stream = this.#addStream(id);
    this.#control.send(encodeOpen(id, request.tag, request.target, request.endpoints));
    return stream;
  }

  drain(): void {
    if (this.#state === 'draining' || this.#state === 'closed') return;
    this.#setState('draining');
    this.#guard(() => this.#control.send(encodeGoAway('no new streams, please')));
    this.connection.schedule();
  }

  close(reason: QtunnelError): void {
    this.connection.close(closeCodeFor(reason.code), reason);
  }

  stats(): LinkStats {
    return statsOf(this.connection, this.#datagrams?.dropped ?? 0);
  }

  onEstablished(): void {
    // That was before the greeting, unless this is a server and HELLO came in early data.
    this.#startBlocks();
  }

  onReceived(now: number): void {
    this.#liveness.handleHeard(now);
    if (this.#state === 'stalled') this.#setState('up');
    this.#guard(() => {
      // What it says of the other streams comes first: that they are there, and why they were reset.
      if (this.#control.isReadable) this.#control.handleReadable();
      this.#moved.read();
      if (this.#datagrams !== null) this.#readDatagrams(this.#datagrams);
    });
  }

  onTurn(now: number): void {
    this.#guard(() => {
      this.#turns.serveReaders();
      if (!this.#turns.serveWriters(this.#hasRoom)) this.connection.schedule();
      this.#turns.serveCredit(this.#grantCredit, now);
      this.#control.flush();
      this.#watch(now);
      if (this.#state === 'draining') this.#closeWhenDrained();
    });
  }

  deadline(now: number): number {
    return this.#state === 'stalled' ? Math.min(this.#liveness.deadline(now), this.#searchAt) : this.#liveness.deadline(now);
  }

  onMove(local: UdpAddress): void {
    this.handler.onMove?.(formatAddress(local));
  }

  onClosed(why: QtunnelError): void {
    // Nothing was left, and the peer was told so: what is missing is the word with which it closed the connection, before it forgot it.
    const reason = why.code === 'LINK_LOST' && this.#saidDrained ? DRAINED : why;
    const streamReason: ResetReason = reason.code === 'SHUTTING_DOWN' ? 'SHUTDOWN' : 'LINK_LOST';
    // Before the streams' handlers, one of which may want to open another.
    this.#setState('closed');
    for (const stream of this.#streams.values()) stream.handleReset(streamReason, reason.message);
    this.handler.onClose(reason);
  }

  mayWrite(stream: QuicStream): boolean {
    return this.#turns.mayWrite(stream);
  }

  waitForCapacity(stream: QuicStream, written: number): void {
    this.#turns.waitForCapacity(stream, written);
  }

  creditDue(stream: QuicStream): void {
    this.#turns.creditDue(stream);
    this.connection.schedule();
  }

  trySendSmall(id: number, bytes: Uint8Array): boolean {
    if (!this.#hasSmallRoom(bytes.length)) return false;
    this.#control.sendSmall(id, bytes);
    return true;
  }

  moveOut(id: number): number {
    const quicStream = this.#quicIds.next();
    this.#guard(() => this.#control.send(encodeMove(id, quicStream)));
    return quicStream;
  }

  sendDatagram(id: number, datagram: Uint8Array): boolean {
    return this.#datagrams?.send(id, datagram, this.#peer.datagrams) ?? false;
  }

  sendFin(id: number): void {
    this.#guard(() => this.#control.send(encodeFin(id)));
  }

  sendReset(id: number, reason: ResetReason, message: string): void {
    this.#guard(() => this.#control.send(encodeReset(id, reason, message)));
  }

  readAgain(stream: QuicStream): void {
    this.#turns.readAgain(stream);
    this.connection.schedule();
  }

  handleViolation(message: string): void {
    this.#violate(new QtunnelError('PROTOCOL_VIOLATION', message));
  }

  forget(stream: QuicStream, reset: boolean): void {
    if (!this.#streams.delete(stream.id)) return;
    if (this.#numbers.isOwn(stream.id)) this.#opened--;
    else this.#accepted--;
    this.#turns.forget(stream);
    this.#moved.forget(stream.input);
    this.#datagrams?.forget(stream.id);
    stream.receiveCredit.release();
    if (!reset && stream.output >= 0) this.#lingering.add(stream.output);
    if (this.#state === 'draining') this.connection.schedule();
  }

  readonly #hasRoom = ({ smallDue }: QuicStream): boolean =>
    smallDue > 0 ? this.#hasSmallRoom(smallDue) : this.connection.streams.hasRoom(1);

  #hasSmallRoom(bytes: number): boolean {
    return this.#control.pending <= MOST_PENDING && this.connection.streams.hasRoom(bytes);
  }

  /** Whether the server opens streams as well: when both sides have said so. */
  get #serverOpens(): boolean {
    return this.#own.serverOpens === 1 && this.#peer.serverOpens === 1;
  }

  /** The handshake's packets go as they are. */
  #startBlocks(): void {
    if (this.#reports === null) return;
    this.connection.packetizer.startBlocks({
      shards: Math.min(this.#own.shards, this.#peer.shards),
      id: this.connection.native.destinationId(),
      reportKeys: this.#reports,
      shardKeys: this.#shards,
      fec: this.#peer.parity > 0 ? this.#options.fec : 'off',
      rtt: this.connection.path?.rtt ?? 0,
    });
  }

  readonly #onFrame = (type: number, payload: Uint8Array): void => this.#handleFrame(type, payload);

  #handleFrame(type: number, payload: Uint8Array): void {
    if (this.#state === 'closed') return;
    switch (type) {
      case FRAME.SMALL: {
        const { stream, offset } = decodeSmall(payload);
        return this.#known(stream)?.handleSmall(payload.subarray(offset));
      }
      case FRAME.OPEN: {
        const { stream, ...request } = decodeOpen(payload);
        return this.#accept(stream, request);
      }
      case FRAME.MOVE: {
        const { stream, quicStream } = decodeMove(payload);
        return this.#moved.handleMove(quicStream, this.#known(stream));
      }
      case FRAME.FIN:
        return this.#known(decodeFin(payload))?.handleFin();
      case FRAME.CREDIT: {
        const { stream, offset } = decodeCredit(payload);
        return this.#known(stream)?.handleCredit(offset);
      }
      case FRAME.RESET: {
        const { stream, reason, message } = decodeReset(payload);
        return this.#known(stream)?.handleReset(reason, message);
      }
      case FRAME.PING:
        return this.#control.send(encodePing(FRAME.PONG, decodePing(payload)));
      case FRAME.PONG:
        return;
      case FRAME.GOAWAY:
        this.#peerGoesAway = true;
        this.#peerDrained = decodeGoAway(payload).drained;
        return this.#setState('draining');
      default:
        throw misplacedFrame(type);
    }
  }

  /** The stream that a frame is about; undefined when it has ended here. @throws QtunnelError `PROTOCOL_VIOLATION` when it never was. */
  #known(id: number): QuicStream | undefined {
    const stream = this.#streams.get(id);
    if (stream === undefined) this.#numbers.expectUsed(id);
    return stream;
  }

  /** A stream of the peer's. */
  #accept(id: number, request: OpenRequest): void {
    if (this.#role === 'client' && !this.#serverOpens)
      throw new QtunnelError('PROTOCOL_VIOLATION', 'The server opened a stream, which this side did not allow.');
    this.#numbers.handlePeer(id);
    if (this.#accepted >= this.#options.maxStreams) {
      return this.sendReset(id, 'LIMIT', `this side allows ${this.#options.maxStreams} streams at once`);
    }
    // What the peer opened before it heard that this side drains is welcome; after its own GOAWAY nothing is.
    if (this.#peerGoesAway) return this.sendReset(id, 'SHUTDOWN', 'this side takes no new streams');
    this.#accepted++;
    this.handler.onStream(this.#addStream(id), request);
    this.#datagrams?.handleOpen(id);
  }

  #datagramHost(): ConstructorParameters<typeof Datagrams>[0] {
    return {
      hasRoom: (bytes) => this.connection.datagrams.hasRoom(bytes),
      sendPart: (part) => this.connection.datagrams.send(part),
      handlerOf: (id) => this.#streams.get(id)?.handler,
      isAhead: (id) => this.#numbers.isAhead(id),
    };
  }

  #readDatagrams(datagrams: Datagrams): void {
    while (this.#state !== 'closed') {
      const part = this.connection.datagrams.receive();
      if (part === null) return;
      datagrams.handlePart(part);
    }
  }

  #addStream(id: number): QuicStream {
    const { buffer } = this.#options;
    const receive = new ReceiveCredit(this.#own.initialCredit, buffer, this.#budget, this.connection.clock.now());
    const stream = new QuicStream(this, id, { send: new SendCredit(this.#peer.initialCredit), receive });
    this.#streams.set(id, stream);
    return stream;
  }

  readonly #grantCredit = (stream: QuicStream, now: number): void => {
    const offset = stream.receiveCredit.pollCredit(now, this.connection.path?.rtt ?? 0);
    if (offset > 0) this.#control.send(encodeCredit(stream.id, offset));
  };

  #watch(now: number): void {
    if (this.connection.takeWrote()) this.#liveness.handleAsked(now);
    if (this.#liveness.pollPing(now)) {
      this.connection.ping();
      this.#liveness.handleAsked(now);
    }
    const state = this.#liveness.state(now);
    if (state === 'dead') this.#violate(new QtunnelError('LINK_LOST', `Nothing was heard from ${this.peer} for the idle timeout.`));
    if (state === 'stalled' && now >= this.#searchAt) this.#search(now);
    if (state === 'stalled' && this.#state === 'up') this.#setState('stalled');
    else if (state === 'stalled' && this.#state === 'draining' && this.#streams.size === 0) {
      // Nobody is there to take what is still under way, and nothing that is open would be helped by waiting.
      this.connection.close(CLOSE.NONE, new QtunnelError('LINK_LOST', `Nothing was heard from ${this.peer}.`));
    }
  }

  /** Again and again, since the way that is found may come to life after the search. */
  #search(now: number): void {
    this.#searchAt = now + STALL;
    this.connection.handleSilence();
  }

  /** Acknowledged does not mean read: only the peer knows when its readers are through with what was sent. */
  #closeWhenDrained(): void {
    if (this.#streams.size > 0 || this.#lingering.prune() > 0) return;
    // What the peer opened before it heard that this side drains may still come, until its own GOAWAY has.
    const mayGetMore = !this.#peerGoesAway && (this.#role === 'server' || this.#serverOpens);
    if (!this.#saidDrained && !mayGetMore) {
      this.#saidDrained = true;
      this.#control.send(encodeGoAway('drained', true));
    }
    this.#control.flush();
    if (this.#peerDrained) this.connection.close(CLOSE.NONE, DRAINED);
  }

  #setState(state: LinkState): void {
    if (this.#state === state || this.#state === 'closed' || (this.#state === 'draining' && state !== 'closed')) return;
    this.#state = state;
    this.handler.onStateChange(state);
  }

  /** What a peer did wrong ends its own connection and nothing else. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#violate(asQtunnelError(error));
    }
  }

  #violate(error: QtunnelError): void {
    this.connection.close(closeCodeFor(error.code), error);
  }
}

const DRAINED = new QtunnelError('LINK_CLOSED', 'The link was drained.');
const NOBODY: LinkHandler = { onStream: (stream) => stream.reset('RESET'), onStateChange() {}, onClose() {} };
/** Memory that the streams of one link may promise together, as a multiple of one stream's `-buffer`. Beyond it windows do not grow. */
const BUDGET_STREAMS = 16;
/** Milliseconds: what a peer may at least expect, whatever it asks for. */
const MIN_IDLE_TIMEOUT = 1_000;
/** QUIC streams of streams that the peer has opened and reset while what it says of them, on the control stream, was lost and is sent again. */
const UNTOLD = 1_024;
/** Of quiche's urgencies; streams have 127 by default. */
const MOST_URGENT = 0;
/** Bytes for the control stream that quiche has not taken, beyond which no more small writes are. */
const MOST_PENDING = 64 * 1024;
