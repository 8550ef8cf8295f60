import { QtunnelError } from '../errors.ts';
import type { Link, LinkHandler, LinkState, LinkStats, LinkStream, OpenRequest } from '../link/link.ts';
import type { LinkOptions } from '../link/options.ts';
import { FRAME, frame } from '../protocol/frames.ts';
import { decodeOpen, encodeGoAway, encodeOpen, encodeReset, type LinkSettings } from '../protocol/messages.ts';
import { STALL } from '../protocol/liveness.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { ConnectionHandler, TlsConnection } from './connection.ts';
import { Control, type ControlHandler } from './control.ts';
import { type StreamHost, TlsStream } from './stream.ts';

/** Where the client's streams get their connections from. */
export interface StreamSource {
  /** Starts `stream` on a connection, now or when there is one; resets it when there will be none. */
  supply(stream: TlsStream): void;
  /** Takes back a connection whose stream has ended; the server will say when it is ready for another, or end it. */
  giveBack(connection: TlsConnection): void;
  /** There will be no more streams; those that wait still get their connections. */
  drain(): void;
  /** Streams that wait for a connection. */
  readonly waiting: number;
  /** Resets those that wait. */
  close(): void;
}

/**
 * A link whose streams have a TLS connection each while they live. The first connection is its control; the others wait, at the client in `source`, at
 * the server as idle ones, until OPEN makes a stream of them, and again when that has ended.
 *
 * Without its control connection a link is draining: what is open goes on over connections of its own.
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
  readonly #idle = new Set<TlsConnection>();
  readonly #connections = new Set<TlsConnection>();
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

  open(request: OpenRequest): LinkStream {
    if (!this.#isOpen) throw new QtunnelError('LINK_CLOSED', 'The link takes no new streams.');
    if (this.#source === null) throw new QtunnelError('STREAM_LIMIT', 'Over TLS only the client opens streams.');
    const { maxStreams } = this.#peerSettings;
    if (this.#streams.size >= maxStreams) {
      throw new QtunnelError('STREAM_LIMIT', `The peer allows ${maxStreams} streams at once; all are in use.`);
    }
    const stream = this.#makeStream(encodeOpen(0, request.tag, request.target, request.endpoints));
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
    this.#control?.close();
    this.#source?.close();
    const streamReason: ResetReason = reason.code === 'SHUTTING_DOWN' ? 'SHUTDOWN' : 'LINK_LOST';
    for (const stream of this.#streams) stream.lose(streamReason, reason.message);
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
    this.#closeIfDrained();
  }

  release(connection: TlsConnection): void {
    const ready = this.#peerSettings.reuse === 1 && this.#isOpen && connection.isFresh;
    if (!ready) return connection.finish();
    if (this.#source !== null) return this.#source.giveBack(connection);
    connection.send(READY);
    this.#letWait(connection);
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
    this.#startDraining();
  }

  get #isOpen(): boolean {
    return this.#state === 'up' || this.#state === 'stalled';
  }

  #makeStream(opening: Uint8Array | null): TlsStream {
    const stream = new TlsStream(this, this.#nextId++, this.#options.buffer, opening);
    this.#streams.add(stream);
    return stream;
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
    connection.handler = new IdleConnection((request) => this.#accept(connection, request));
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

/** The server's end of a connection that waits in the client's pool. */
class IdleConnection implements ConnectionHandler {
  readonly #onOpen: (request: OpenRequest) => void;

  constructor(onOpen: (request: OpenRequest) => void) {
    this.#onOpen = onOpen;
  }

  onFrame(type: number, payload: Uint8Array): void {
    if (type !== FRAME.OPEN)
      throw new QtunnelError('PROTOCOL_VIOLATION', `The client sent a frame of type ${type} where OPEN belongs.`);
    const { stream: _stream, ...request } = decodeOpen(payload);
    this.#onOpen(request);
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
