import { QtunnelError } from '../errors.ts';
import { Datagrams } from '../link/datagrams.ts';
import type { Link, LinkHandler, LinkState, LinkStats, LinkStream, OpenRequest } from '../link/link.ts';
import type { LinkOptions } from '../link/options.ts';
import { FRAME, frame, MAX_CONTROL } from '../protocol/frames.ts';
import { decodeAttach, decodeOpen, encodeGoAway, encodeOpen, encodeReset, type LinkSettings } from '../protocol/messages.ts';
import { STALL } from '../protocol/liveness.ts';
import type { ResetReason } from '../protocol/reset.ts';
import { StreamNumbers } from '../protocol/stream-numbers.ts';
import type { TlsConnection } from './connection.ts';
import { Connections } from './connections.ts';
import { Control, type ControlHandler } from './control.ts';
import { Lane } from './lane.ts';
import { Lanes } from './lanes.ts';
import { type StreamHost, TlsStream } from './stream.ts';

/** Where a client's link gets the connections of its streams from, whoever opened them. */
export interface StreamSource {
  /** Connections that are ready. */
  readonly warm: number;
  /** Starts `stream` on a connection, now or when there is one; resets it when there will be none. */
  supply(stream: TlsStream): void;
  /** Takes back a connection whose stream has ended; the server will say when it is ready for another, or end it. */
  giveBack(connection: TlsConnection): void;
  /** The same for one that the server is ready for. */
  takeReady(connection: TlsConnection): void;
  /** There will be no more streams; those that wait still get their connections. */
  drain(): void;
  /** Streams that wait for a connection. */
  readonly waiting: number;
  /** Resets those that wait. */
  close(): void;
}

/**
 * A link whose streams begin on its first connection, the control, and have a TLS connection each when they outgrow that (lane.ts). These wait, at the client
 * in `source`, at the server as idle ones, until ATTACH gives them to a stream, and again when that has ended. To a server without lanes the client opens
 * each stream on a connection of its own: OPEN makes one of it. What a server opens begins in a lane in any case, and stays there if it has no lanes itself.
 *
 * Without its control connection a link is draining: what has a connection of its own goes on.
 */
export class TlsLink implements Link, StreamHost, ControlHandler {
  readonly transport = 'tls';
  readonly id: string;
  readonly peer: string;
  handler: LinkHandler = NOBODY;
  readonly isBranch: boolean;
  readonly client: string;
  /** Nothing can join the link any more; `cut` says whether its streams were cut off. */
  onForgotten: (cut: boolean) => void = () => {};
  /** Null in a branch: the link that it belongs to has it. */
  readonly #control: Control | null;
  readonly #options: LinkOptions;
  readonly #peerSettings: LinkSettings;
  readonly #source: StreamSource | null;
  readonly #streams = new Set<TlsStream>();
  readonly #connections = new Connections({
    open: (connection, request) => this.#accept(connection, request),
    attach: (connection, payload) => this.#attach(connection, payload),
  });
  readonly #numbers: StreamNumbers;
  readonly #lanes: Lanes;
  /** Null when this side takes none. */
  readonly #datagrams: Datagrams | null;
  /** Whether the server opens streams as well. */
  readonly #serverOpens: boolean;
  /** Whether the client's connections come to where the server's streams are. */
  readonly #canAttach: boolean;
  #state: LinkState = 'up';
  /** Streams that this side opened. */
  #opened = 0;
  /** Streams without a lane that the client opened. */
  #unnumbered = 0;
  /** Whether the peer may open streams: at the server also after its GOAWAY, because on another connection OPEN may have been overtaken by it. */
  #accepts = true;
  #isControlLost = false;
  /** Whether the end of the last stream closes a link that drains. */
  #closesWhenIdle = false;
  #drainReason = new QtunnelError('LINK_CLOSED', 'The link was drained.');

  /**
   * `makeSource` is null on the server, which makes no connections; `rtt` is the first measurement in milliseconds, NaN without one. A branch's
   * first connection is none for control.
   */
  constructor(
    first: TlsConnection,
    options: LinkOptions,
    link: {
      id: string;
      client?: string;
      peer: LinkSettings;
      rtt: number;
      makeSource: ((link: TlsLink) => StreamSource) | null;
      isBranch?: boolean;
    },
  ) {
    this.id = link.id;
    this.client = link.client ?? '';
    this.isBranch = link.isBranch ?? false;
    this.peer = first.peer;
    this.#options = options;
    this.#peerSettings = link.peer;
    this.adopt(first);
    const idleTimeout = Math.min(options.idleTimeout, link.peer.idleTimeout);
    // The client's pings are enough; the server's own come only when those do not.
    const keepalive = options.keepalive * (link.makeSource === null ? 2 : 1);
    const stall = Math.max(options.stall ?? STALL, 3 * (link.rtt || 0));
    this.#control = this.isBranch ? null : new Control(first, { keepalive, idleTimeout, stall, rtt: link.rtt }, this);
    this.#serverOpens = options.serverOpens === true && link.peer.serverOpens === 1;
    this.#numbers = new StreamNumbers(link.makeSource === null ? 'server' : 'client', !this.#serverOpens);
    this.#lanes = new Lanes(this.#control, this.#numbers);
    this.#datagrams = options.datagrams === true ? new Datagrams(this.#datagramHost(), MAX_CONTROL) : null;
    this.#canAttach = options.lane !== false && link.peer.lane === 1;
    this.#source = link.makeSource?.(this) ?? null;
  }

  get state(): LinkState {
    return this.#state;
  }

  get wantsEndpoints(): boolean {
    return this.#peerSettings.endpoints === 1;
  }

  get descriptorsDue(): number {
    return this.#source?.waiting ?? 0;
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** TCP connections of this link that are not closed. */
  get connections(): number {
    return this.#connections.size;
  }

  /** At the server: those of them that wait for a stream. */
  get idle(): number {
    return this.#connections.idle;
  }

  /** At the client: those that are ready for one. */
  get warm(): number {
    return this.#source?.warm ?? 0;
  }

  open(request: OpenRequest): LinkStream {
    if (!this.#isOpen) throw new QtunnelError('LINK_CLOSED', 'The link takes no new streams.');
    if (this.#source === null && (!this.#serverOpens || this.#control === null))
      throw new QtunnelError('STREAM_LIMIT', 'The client takes no streams that the server opens.');
    const { maxStreams } = this.#peerSettings;
    if (this.#opened >= maxStreams) {
      throw new QtunnelError('STREAM_LIMIT', `The peer allows ${maxStreams} streams at once; all are in use.`);
    }
    const id = this.#numbers.next();
    this.#opened++;
    if (this.#source === null || this.#peerSettings.lane === 1) return this.#openLane(id, request);
    const stream = this.#makeStream(id, opening(0, request));
    this.#source.supply(stream);
    return stream;
  }

  drain(): void {
    if (!this.#isOpen) return;
    this.#control?.send(encodeGoAway('no new streams, please'));
    // What the client opened before it heard of it is welcome; when all of that has ended, the client closes.
    if (this.#source === null) return this.#setState('draining');
    if (!this.#serverOpens) return this.#startDraining();
    // And what the server opened before it heard of it: its own GOAWAY comes behind that.
    this.#setState('draining');
    this.#source.drain();
  }

  close(reason: QtunnelError): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#accepts = false;
    this.#source?.close();
    const streamReason: ResetReason = reason.code === 'SHUTTING_DOWN' ? 'SHUTDOWN' : 'LINK_LOST';
    for (const stream of this.#streams) stream.lose(streamReason, reason.message);
    this.#control?.close();
    this.#connections.cutOff();
    this.onForgotten(reason !== this.#drainReason);
    this.handler.onStateChange('closed');
    this.handler.onClose(reason);
  }

  stats(): LinkStats {
    const datagramsDropped = this.#datagrams?.dropped ?? 0;
    return { ...UNKNOWN, datagramsDropped, rtt: this.#control?.rtt ?? Number.NaN, ...this.#connections.bytes };
  }

  /** Counts `connection` as one of this link's. */
  adopt(connection: TlsConnection): void {
    this.#connections.adopt(connection);
  }

  /** Whether the server lets one more connection join. */
  get hasRoom(): boolean {
    return this.#accepts && this.#connections.size < this.#options.maxStreams + this.#opened + SPARE_CONNECTIONS;
  }

  /** Takes in a connection of the client's that waits for OPEN. */
  join(connection: TlsConnection): void {
    this.adopt(connection);
    this.#connections.letWait(connection);
  }

  forget(stream: TlsStream): void {
    if (!this.#streams.delete(stream)) return;
    this.#lanes.forget(stream);
    this.#datagrams?.forget(stream.id);
    if (this.#isOwn(stream)) this.#opened--;
    this.#closeIfDrained();
  }

  release(connection: TlsConnection): void {
    const ready = this.#peerSettings.reuse === 1 && this.#isOpen && connection.isFresh;
    if (!ready) return connection.finish();
    if (this.#source !== null) return this.#source.giveBack(connection);
    connection.send(READY);
    this.#connections.letWait(connection);
  }

  wantConnection(stream: TlsStream): void {
    if (this.#source === null || !this.#canAttach) return;
    stream.lane?.hold();
    this.#source.supply(stream);
    if (stream.hasConnection || stream.lane === null) return;
    // A dial that is dropped in silence takes ten seconds to fail.
    setTimeout(() => stream.goOnInLane(), LONGEST_HOLD + HOLD_ROUND_TRIPS * (this.#control?.rtt || 0)).unref();
  }

  takeReady(connection: TlsConnection): void {
    if (this.#source === null) throw new QtunnelError('PROTOCOL_VIOLATION', 'The client sent READY.');
    this.#source.takeReady(connection);
  }

  sendDatagram(id: number, datagram: Uint8Array): boolean {
    return this.#datagrams?.send(id, datagram, this.#peerSettings.datagrams) ?? false;
  }

  waitForRoom(stream: TlsStream): void {
    this.#lanes.waitForRoom(stream);
  }

  onRoom(): void {
    this.#lanes.handleRoom();
  }

  onStreamFrame(type: number, payload: Uint8Array): void {
    if (this.#state === 'closed') return;
    if (type === FRAME.OPEN) this.#acceptLane(payload);
    else if (type === FRAME.DATAGRAM && this.#datagrams !== null) this.#datagrams.handlePart(payload);
    else this.#lanes.handleFrame(type, payload);
  }

  onStalled(): void {
    if (this.#state === 'up') this.#setState('stalled');
  }

  onAlive(): void {
    if (this.#state === 'stalled') this.#setState('up');
  }

  onGoAway(): void {
    const isNews = this.#isOpen;
    if (isNews) this.#drainReason = new QtunnelError('LINK_CLOSED', 'The peer drained the link.');
    if (this.#source !== null) return this.#startDraining();
    // What the client opened before may still be on its way; when all of that has ended, the client closes.
    this.#setState('draining');
    if (isNews && this.#serverOpens) this.#control?.send(encodeGoAway('no more from this side'));
  }

  onTaken(): void {
    if (this.#isDrained) this.close(this.#drainReason);
  }

  onDead(): void {
    this.close(new QtunnelError('LINK_LOST', `Nothing was heard from ${this.peer} for the idle timeout.`));
  }

  onControlLost(error: QtunnelError): void {
    if (this.#state === 'closed') return;
    if (this.#isOpen) this.#drainReason = error;
    this.#isControlLost = true;
    this.#accepts = false;
    this.#setState('draining');
    this.#source?.close();
    this.#connections.destroyIdle();
    for (const stream of this.#streams) {
      // An OPEN that is not here will not come.
      if (stream.lane !== null && this.#numbers.isAhead(stream.id)) stream.reset('LINK_LOST', error.message);
      else stream.handleControlLost(error.message);
    }
    this.#startDraining();
  }

  #datagramHost(): ConstructorParameters<typeof Datagrams>[0] {
    return {
      hasRoom: (bytes) => this.#control?.hasRoomFor(bytes) ?? false,
      sendPart: (part) => this.#control?.sendPart(part) ?? false,
      handlerOf: (id) => this.#lanes.get(id)?.handler,
      // They come behind the stream's opening.
      isAhead: () => false,
    };
  }

  get #isOpen(): boolean {
    return this.#state === 'up' || this.#state === 'stalled';
  }

  /** Streams that the peer opened. */
  get #taken(): number {
    return this.#streams.size - this.#opened;
  }

  #isOwn({ id, lane }: TlsStream): boolean {
    return lane === null ? this.#source !== null : this.#numbers.isOwn(id);
  }

  #makeStream(id: number, begins: Lane | Uint8Array | null): TlsStream {
    const stream = new TlsStream(this, id, this.#options.buffer, begins);
    this.#streams.add(stream);
    return stream;
  }

  #makeLane(id: number): TlsStream {
    const stream = this.#makeStream(id, new Lane(this.#lanes, id));
    this.#lanes.add(id, stream);
    return stream;
  }

  #openLane(id: number, request: OpenRequest): TlsStream {
    const stream = this.#makeLane(id);
    this.#control!.sendSoon(opening(id, request));
    return stream;
  }

  #acceptLane(payload: Uint8Array): void {
    const { stream: id, ...request } = decodeOpen(payload);
    if (this.#source !== null && !this.#serverOpens)
      throw new QtunnelError('PROTOCOL_VIOLATION', 'The server opened a stream, which this side did not allow.');
    this.#numbers.handlePeer(id);
    const known = this.#lanes.get(id);
    if (!this.#accepts) return this.#refuse(id, 'SHUTDOWN', 'this side takes no new streams');
    const { maxStreams } = this.#options;
    if (known === undefined && this.#taken >= maxStreams)
      return this.#refuse(id, 'LIMIT', `this side allows ${maxStreams} streams at once`);
    const stream = known ?? this.#makeLane(id);
    // Before the handler, which may write at once.
    known?.answerAttach();
    this.handler.onStream(stream, request);
  }

  #refuse(id: number, reason: ResetReason, message: string): void {
    const known = this.#lanes.get(id);
    if (known === undefined) this.#lanes.sendReset(id, reason, message);
    else known.reset(reason, message);
  }

  /** The client goes on with a stream over this connection. */
  #attach(connection: TlsConnection, payload: Uint8Array): void {
    const { stream: id, offset, ended } = decodeAttach(payload);
    const stream = this.#lanes.get(id);
    if (stream === undefined && !this.#numbers.isAhead(id)) return this.#answerLate(connection, id, ended);
    this.#connections.take(connection);
    if (stream === undefined) return this.#attachAhead(connection, id, offset, ended);
    stream.attach(connection, offset, ended);
    stream.answerAttach();
  }

  /**
   * ATTACH for a stream that has ended: if well, the client has nothing more to say on this connection. A client that does not take that in gets no more of it.
   * Otherwise the client hears by the lane, or has said itself, why the stream has ended, and ends the connection then: an end that overtakes the reason would stand for another one.
   */
  #answerLate(connection: TlsConnection, id: number, ended: boolean): void {
    this.#numbers.expectUsed(id);
    if (!ended) this.#connections.ignore(connection);
    else if (connection.queued <= MOST_READY) connection.send(READY);
    else connection.destroy();
  }

  /** ATTACH has overtaken OPEN. */
  #attachAhead(connection: TlsConnection, id: number, offset: number, ended: boolean): void {
    const { maxStreams } = this.#options;
    if (!this.#accepts || this.#control === null || this.#taken >= maxStreams)
      return connection.cutOff(encodeReset(0, this.#accepts ? 'LIMIT' : 'SHUTDOWN', 'this side takes no new streams'));
    const stream = this.#makeLane(id);
    try {
      stream.attach(connection, offset, ended);
    } catch (error) {
      // Nobody has heard of it, and it has no connection that could end it.
      this.forget(stream);
      throw error;
    }
  }

  #accept(connection: TlsConnection, request: OpenRequest): void {
    this.#connections.take(connection);
    const { maxStreams } = this.#options;
    if (!this.#accepts) return connection.cutOff(encodeReset(0, 'SHUTDOWN', 'this side takes no new streams'));
    if (this.#taken >= maxStreams) {
      return connection.cutOff(encodeReset(0, 'LIMIT', `this side allows ${maxStreams} streams at once`));
    }
    const stream = this.#makeStream((this.#unnumbered += 2), null);
    stream.start(connection);
    this.handler.onStream(stream, request);
  }

  #startDraining(): void {
    this.#accepts &&= this.#source === null;
    this.#closesWhenIdle = true;
    this.#setState('draining');
    this.#source?.drain();
    this.#closeIfDrained();
  }

  get #isDrained(): boolean {
    return this.#state === 'draining' && this.#closesWhenIdle && this.#streams.size === 0;
  }

  /** What ended in a lane has only been written; to close the connection could cost its last bytes. */
  #closeIfDrained(): void {
    if (!this.#isDrained) return;
    if (this.#lanes.wereUsed && !this.#isControlLost) this.#control?.askForTaken();
    else this.close(this.#drainReason);
  }

  #setState(state: LinkState): void {
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    this.handler.onStateChange(state);
  }
}

function opening(lane: number, { tag, target, endpoints }: OpenRequest): Uint8Array {
  return encodeOpen(lane, tag, target, endpoints);
}

const READY = frame(FRAME.READY, new Uint8Array(0));
const NOBODY: LinkHandler = { onStream: (stream) => stream.reset('RESET'), onStateChange() {}, onClose() {} };
const UNKNOWN = {
  congestionWindow: Number.NaN,
  packetsSent: Number.NaN,
  packetsLost: Number.NaN,
  paritySent: Number.NaN,
  shardsRestored: Number.NaN,
  deliveryRate: Number.NaN,
};
/** Bytes of answers that may wait for the kernel on one connection. */
const MOST_READY = 4_096;
/**
 * How long a stream's bulk waits for a connection: milliseconds, and round trips on top. TCP, TLS and HELLO take three of these; handshakes of many streams at
 * once take CPU time, and that load is not to come to the control connection besides.
 */
const LONGEST_HOLD = 1_000;
const HOLD_ROUND_TRIPS = 4;
/** Control, the client's warm pool (64), and connections of ended streams that linger for a second. */
const SPARE_CONNECTIONS = 1024;
