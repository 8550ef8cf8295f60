import { QtunnelError } from '../errors.ts';
import type { Link, LinkHandler, LinkState, LinkStats, LinkStream, OpenRequest } from '../link/link.ts';
import type { LinkOptions } from '../link/options.ts';
import { FRAME, frame } from '../protocol/frames.ts';
import {
  decodeAttach,
  decodeCredit,
  decodeFin,
  decodeOpen,
  decodeReset,
  decodeSmall,
  encodeCredit,
  encodeFin,
  encodeGoAway,
  encodeOpen,
  encodeReset,
  type LinkSettings,
} from '../protocol/messages.ts';
import { STALL } from '../protocol/liveness.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { ConnectionHandler, TlsConnection } from './connection.ts';
import { Control, type ControlHandler } from './control.ts';
import { Lane, type LaneHost } from './lane.ts';
import { type StreamHost, TlsStream } from './stream.ts';

/** Where the client's streams get their connections from. */
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
 * in `source`, at the server as idle ones, until ATTACH gives them to a stream, and again when that has ended. A peer without lanes has a connection for each
 * stream from the beginning: OPEN makes one of it.
 *
 * Without its control connection a link is draining: what has a connection of its own goes on.
 */
export class TlsLink implements Link, StreamHost, ControlHandler, LaneHost {
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
  readonly #idle = new Set<TlsConnection>();
  readonly #connections = new Set<TlsConnection>();
  /** The streams that have a lane, by its number; at the server also those whose ATTACH has overtaken their OPEN. */
  readonly #lanes = new Map<number, TlsStream>();
  /** Streams that could write if the control connection had room, longest waiting first. */
  readonly #waiting = new Set<TlsStream>();
  readonly #usesLanes: boolean;
  /** The last lane that was opened. */
  #lastLane = 0;
  #state: LinkState = 'up';
  #nextId = 1;
  /** Whether the peer may open streams: also after its GOAWAY, because on another connection OPEN may have been overtaken by it. */
  #accepts = true;
  /** Whether the end of the last stream closes a link that drains. */
  #closesWhenIdle = false;
  #drainReason = new QtunnelError('LINK_CLOSED', 'The link was drained.');
  /** Bytes of connections that are gone. */
  #bytesSent = 0;
  #bytesReceived = 0;

  /**
   * `makeSource` is null on the server, which opens no streams over TLS; `rtt` is the first measurement in milliseconds, NaN without one. A branch's
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
    this.#source = link.makeSource?.(this) ?? null;
    this.#usesLanes = this.#source !== null && link.peer.lane === 1;
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
    return this.#idle.size;
  }

  /** At the client: those that are ready for one. */
  get warm(): number {
    return this.#source?.warm ?? 0;
  }

  open(request: OpenRequest): LinkStream {
    if (!this.#isOpen) throw new QtunnelError('LINK_CLOSED', 'The link takes no new streams.');
    if (this.#source === null) throw new QtunnelError('STREAM_LIMIT', 'Over TLS only the client opens streams.');
    const { maxStreams } = this.#peerSettings;
    if (this.#streams.size >= maxStreams) {
      throw new QtunnelError('STREAM_LIMIT', `The peer allows ${maxStreams} streams at once; all are in use.`);
    }
    const opening = (lane: number): Uint8Array => encodeOpen(lane, request.tag, request.target, request.endpoints);
    if (this.#usesLanes) return this.#openLane(opening);
    const stream = this.#makeStream(opening(0));
    this.#source.supply(stream);
    return stream;
  }

  drain(): void {
    if (!this.#isOpen) return;
    this.#control?.send(encodeGoAway('no new streams, please'));
    // What the client opened before it heard of it is welcome; when all of that has ended, the client closes.
    if (this.#source === null) return this.#setState('draining');
    this.#accepts = false;
    this.#startDraining();
  }

  close(reason: QtunnelError): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#accepts = false;
    this.#source?.close();
    const streamReason: ResetReason = reason.code === 'SHUTTING_DOWN' ? 'SHUTDOWN' : 'LINK_LOST';
    for (const stream of this.#streams) stream.lose(streamReason, reason.message);
    this.#control?.close();
    for (const connection of this.#idle) connection.destroy();
    // Those that were to end by themselves.
    for (const connection of this.#connections) connection.cutOff(null);
    this.onForgotten(reason !== this.#drainReason);
    this.handler.onStateChange('closed');
    this.handler.onClose(reason);
  }

  stats(): LinkStats {
    let bytesSent = this.#bytesSent;
    let bytesReceived = this.#bytesReceived;
    for (const { socket } of this.#connections) {
      bytesSent += socket.bytesWritten;
      bytesReceived += socket.bytesRead;
    }
    return { ...UNKNOWN, rtt: this.#control?.rtt ?? Number.NaN, bytesSent, bytesReceived };
  }

  /** Counts `connection` as one of this link's. */
  adopt(connection: TlsConnection): void {
    this.#connections.add(connection);
    connection.onGone = () => {
      this.#connections.delete(connection);
      this.#idle.delete(connection);
      this.#bytesSent += connection.socket.bytesWritten;
      this.#bytesReceived += connection.socket.bytesRead;
    };
  }

  /** Whether the server lets one more connection join. */
  get hasRoom(): boolean {
    return this.#accepts && this.#connections.size < this.#options.maxStreams + SPARE_CONNECTIONS;
  }

  /** Takes in a connection of the client's that waits for OPEN. */
  join(connection: TlsConnection): void {
    this.adopt(connection);
    this.#letWait(connection);
  }

  forget(stream: TlsStream): void {
    if (!this.#streams.delete(stream)) return;
    this.#waiting.delete(stream);
    if (stream.lane !== null) this.#lanes.delete(stream.lane.id);
    this.#closeIfDrained();
  }

  release(connection: TlsConnection): void {
    const ready = this.#peerSettings.reuse === 1 && this.#isOpen && connection.isFresh;
    if (!ready) return connection.finish();
    if (this.#source !== null) return this.#source.giveBack(connection);
    connection.send(READY);
    this.#letWait(connection);
  }

  wantConnection(stream: TlsStream): void {
    if (this.#source === null) return;
    stream.lane?.hold();
    this.#source.supply(stream);
  }

  takeReady(connection: TlsConnection): void {
    if (this.#source === null) throw new QtunnelError('PROTOCOL_VIOLATION', 'The client sent READY.');
    this.#source.takeReady(connection);
  }

  waitForRoom(stream: TlsStream): void {
    this.#waiting.add(stream);
  }

  get hasLaneRoom(): boolean {
    return this.#control?.hasRoom ?? false;
  }

  sendSmall(id: number, bytes: Uint8Array): boolean {
    return this.#control?.sendSmall(id, bytes) ?? false;
  }

  sendFin(id: number): void {
    this.#control?.sendSoon(encodeFin(id));
  }

  sendCredit(id: number, offset: number): void {
    this.#control?.sendSoon(encodeCredit(id, offset));
  }

  sendReset(id: number, reason: ResetReason, message: string): void {
    this.#control?.sendSoon(encodeReset(id, reason, message));
  }

  onRoom(): void {
    for (let left = this.#waiting.size; left > 0 && this.hasLaneRoom; left--) {
      const [stream] = this.#waiting;
      if (stream === undefined) return;
      this.#waiting.delete(stream);
      stream.handleRoom();
    }
  }

  onStreamFrame(type: number, payload: Uint8Array): void {
    if (this.#state === 'closed') return;
    switch (type) {
      case FRAME.SMALL: {
        const { stream, offset } = decodeSmall(payload);
        return this.#known(stream)?.handleSmall(payload.subarray(offset));
      }
      case FRAME.OPEN:
        return this.#acceptLane(payload);
      case FRAME.FIN:
        return this.#known(decodeFin(payload))?.handleLaneFin();
      case FRAME.CREDIT: {
        const { stream, offset } = decodeCredit(payload);
        return this.#known(stream)?.handleCredit(offset);
      }
      case FRAME.RESET:
        return this.#known(decodeReset(payload).stream)?.handleReset(payload);
      default:
        throw misplaced(type);
    }
  }

  onStalled(): void {
    if (this.#state === 'up') this.#setState('stalled');
  }

  onAlive(): void {
    if (this.#state === 'stalled') this.#setState('up');
  }

  onGoAway(): void {
    if (!this.#isOpen) return;
    this.#drainReason = new QtunnelError('LINK_CLOSED', 'The peer drained the link.');
    // What the client opened before may still be on its way; when all of that has ended, the client closes.
    if (this.#source === null) this.#setState('draining');
    else this.#startDraining();
  }

  onDead(): void {
    this.close(new QtunnelError('LINK_LOST', `Nothing was heard from ${this.peer} for the idle timeout.`));
  }

  onControlLost(error: QtunnelError): void {
    if (this.#state === 'closed') return;
    if (this.#isOpen) this.#drainReason = error;
    this.#accepts = false;
    this.#setState('draining');
    this.#source?.close();
    for (const connection of this.#idle) connection.destroy();
    for (const stream of this.#streams) {
      // An OPEN that is not here will not come.
      if (stream.lane !== null && stream.lane.id > this.#lastLane) stream.reset('LINK_LOST', error.message);
      else stream.handleControlLost(error.message);
    }
    this.#startDraining();
  }

  get #isOpen(): boolean {
    return this.#state === 'up' || this.#state === 'stalled';
  }

  #makeStream(begins: Lane | Uint8Array | null): TlsStream {
    const stream = new TlsStream(this, this.#nextId++, this.#options.buffer, begins);
    this.#streams.add(stream);
    return stream;
  }

  #makeLane(id: number): TlsStream {
    const stream = this.#makeStream(new Lane(this, id));
    this.#lanes.set(id, stream);
    return stream;
  }

  #openLane(opening: (lane: number) => Uint8Array): TlsStream {
    const stream = this.#makeLane(++this.#lastLane);
    this.#control!.sendSoon(opening(this.#lastLane));
    return stream;
  }

  #acceptLane(payload: Uint8Array): void {
    const { stream: id, ...request } = decodeOpen(payload);
    if (this.#source !== null || id <= this.#lastLane)
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer opened stream ${id}, which it may not.`);
    this.#lastLane = id;
    const known = this.#lanes.get(id);
    if (!this.#accepts) return this.#refuse(id, 'SHUTDOWN', 'this side takes no new streams');
    const { maxStreams } = this.#options;
    if (known === undefined && this.#streams.size >= maxStreams)
      return this.#refuse(id, 'LIMIT', `this side allows ${maxStreams} streams at once`);
    const stream = known ?? this.#makeLane(id);
    this.handler.onStream(stream, request);
    known?.answerAttach();
  }

  #refuse(id: number, reason: ResetReason, message: string): void {
    const known = this.#lanes.get(id);
    if (known === undefined) this.sendReset(id, reason, message);
    else known.reset(reason, message);
  }

  /** The stream that a frame on the control connection is about; undefined when it has ended here. @throws QtunnelError `PROTOCOL_VIOLATION` */
  #known(id: number): TlsStream | undefined {
    if (id > this.#lastLane)
      throw new QtunnelError('PROTOCOL_VIOLATION', `The peer spoke of stream ${id}, which has not been opened.`);
    return this.#lanes.get(id);
  }

  /** The client goes on with a stream over this connection. */
  #attach(connection: TlsConnection, payload: Uint8Array): void {
    const { stream: id, offset, ended } = decodeAttach(payload);
    const stream = this.#lanes.get(id);
    if (stream !== undefined || id > this.#lastLane) this.#idle.delete(connection);
    if (stream !== undefined) {
      stream.attach(connection, offset, ended);
      return stream.answerAttach();
    }
    if (id > this.#lastLane) return this.#attachAhead(connection, id, offset, ended);
    // It has ended: if well, the client has nothing more to say on this connection.
    if (ended) connection.send(READY);
    else connection.destroy();
  }

  /** ATTACH has overtaken OPEN. */
  #attachAhead(connection: TlsConnection, id: number, offset: number, ended: boolean): void {
    const { maxStreams } = this.#options;
    if (!this.#accepts || this.#control === null || this.#streams.size >= maxStreams)
      return connection.cutOff(encodeReset(0, this.#accepts ? 'LIMIT' : 'SHUTDOWN', 'this side takes no new streams'));
    this.#makeLane(id).attach(connection, offset, ended);
  }

  #accept(connection: TlsConnection, request: OpenRequest): void {
    this.#idle.delete(connection);
    const { maxStreams } = this.#options;
    if (!this.#accepts) return connection.cutOff(encodeReset(0, 'SHUTDOWN', 'this side takes no new streams'));
    if (this.#streams.size >= maxStreams) {
      return connection.cutOff(encodeReset(0, 'LIMIT', `this side allows ${maxStreams} streams at once`));
    }
    const stream = this.#makeStream(null);
    stream.start(connection);
    this.handler.onStream(stream, request);
  }

  #letWait(connection: TlsConnection): void {
    this.#idle.add(connection);
    connection.handler = new IdleConnection({
      open: (request) => this.#accept(connection, request),
      attach: (payload) => this.#attach(connection, payload),
    });
  }

  #startDraining(): void {
    this.#closesWhenIdle = true;
    this.#setState('draining');
    this.#source?.drain();
    this.#closeIfDrained();
  }

  #closeIfDrained(): void {
    if (this.#state === 'draining' && this.#closesWhenIdle && this.#streams.size === 0) this.close(this.#drainReason);
  }

  #setState(state: LinkState): void {
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    this.handler.onStateChange(state);
  }
}

interface IdleUses {
  open(request: OpenRequest): void;
  /** Takes the payload of ATTACH. */
  attach(payload: Uint8Array): void;
}

/** The server's end of a connection that waits in the client's pool. */
class IdleConnection implements ConnectionHandler {
  readonly #uses: IdleUses;

  constructor(uses: IdleUses) {
    this.#uses = uses;
  }

  onFrame(type: number, payload: Uint8Array): void {
    if (type === FRAME.ATTACH) return this.#uses.attach(payload);
    if (type !== FRAME.OPEN)
      throw new QtunnelError('PROTOCOL_VIOLATION', `The client sent a frame of type ${type} where OPEN belongs.`);
    const { stream: _stream, ...request } = decodeOpen(payload);
    this.#uses.open(request);
  }

  onData(): void {
    throw new QtunnelError('PROTOCOL_VIOLATION', 'The client sent DATA before OPEN.');
  }

  onDrain(): void {
    // Nothing is written here.
  }

  onLost(): void {
    // The client does not need it any more.
  }
}

function misplaced(type: number): QtunnelError {
  return new QtunnelError('PROTOCOL_VIOLATION', `The peer sent a frame of type ${type} where it does not belong.`);
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
/** Control, the client's warm pool (64), and connections of ended streams that linger for a second. */
const SPARE_CONNECTIONS = 1024;
