import { QtunnelError } from '../errors.ts';
import { END, type LinkStream, NOTHING_YET, type StreamHandler } from '../link/link.ts';
import { FRAME, frame, MAX_DATA, misplacedFrame } from '../protocol/frames.ts';
import { decodeAttach, decodeReset, encodeAttach, encodeReset } from '../protocol/messages.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { ConnectionHandler, TlsConnection } from './connection.ts';
import { ReceiveQueue } from '../link/receive-queue.ts';
import type { Lane } from './lane.ts';
import { takeTurn, type TurnTaker } from './turns.ts';

/** What a stream asks of its link. */
export interface StreamHost {
  /** The stream has ended in both directions, or was reset. */
  forget(stream: TlsStream): void;
  /** Nothing more is to be sent or received: `connection` is free. */
  release(connection: TlsConnection): void;
  /** The stream is about to need a connection of its own: start it on one, now or when there is one. At the server that is the client's to do. */
  wantConnection(stream: TlsStream): void;
  /** The server does not need the stream's connection, and is ready for another stream on it. */
  takeReady(connection: TlsConnection): void;
  sendDatagram(id: number, datagram: Uint8Array): boolean;
  /** The lane has no room: call `handleRoom` when it has. */
  waitForRoom(stream: TlsStream): void;
}

/**
 * A stream. It begins in a lane on the link's control connection, and goes on over a TLS connection of its own when it outgrows that (lane.ts); without a
 * lane it has one from the beginning: until `start`, frames wait here.
 *
 *     TLS records ─▶ TlsConnection ─▶ onData ─▶ ReceiveQueue ─▶ (once per turn) onReadable ─▶ read
 *                         ▲                         └─ full? pause the connection; half empty? resume
 *     write ─▶ sendData ──┘ as far as there is room; onDrain ─▶ onWritable
 *
 * It has ended when its end was read, FIN was handed to the kernel, and the server knows where that comes; from then on, and after a reset, it is `over` and calls nobody. Its connection is
 * free as soon as FIN was written and received, or is to come by the lane, whatever is still unread.
 * While the connection is paused nothing is heard on it from the peer, a reset included: it is found when the reader reads on.
 */
export class TlsStream implements LinkStream, ConnectionHandler, TurnTaker {
  readonly id: number;
  handler: StreamHandler = NOBODY;
  isDue = false;
  readonly #host: StreamHost;
  readonly #receiveLimit: number;
  readonly #incoming = new ReceiveQueue();
  #connection: TlsConnection | null = null;
  /** Frames that wait for a connection. */
  #held: Uint8Array[] = [];
  /** Null for a stream that has none. */
  readonly #lane: Lane | null;
  #wantsConnection = false;
  /** The server has not said that it knows of the connection, on which this side has said more than that it has ended. */
  #isUnanswered = false;
  /** Bytes in the lane from which on it may ask for a connection. */
  #askFrom = 0;
  #heldBytes = 0;
  #paused = false;
  #wantsWrite = false;
  #finSent = false;
  #finFlushed = false;
  #finReceived = false;
  #endRead = false;
  #over = false;

  /**
   * `buffer` is the most bytes it may hold for its reader. `begins` is the lane; or the frame that goes before all others on a connection of its own,
   * null for an accepted stream.
   */
  constructor(host: StreamHost, id: number, buffer: number, begins: Lane | Uint8Array | null) {
    this.#host = host;
    this.id = id;
    const opening = begins instanceof Uint8Array ? begins : null;
    this.#lane = begins instanceof Uint8Array ? null : begins;
    this.#receiveLimit = Math.min(buffer, RECEIVE_LIMIT);
    if (opening !== null) this.#held.push(opening);
  }

  /** Whether nothing more can come of it. */
  get isOver(): boolean {
    return this.#over;
  }

  get lane(): Lane | null {
    return this.#lane;
  }

  /** Whether it has a connection of its own. */
  get hasConnection(): boolean {
    return this.#connection !== null;
  }

  /** Goes on over `connection`, which is authenticated and from now on the stream's. */
  start(connection: TlsConnection): void {
    this.#connection = connection;
    connection.handler = this;
    if (this.#lane !== null) {
      this.#lane.hold();
      this.#isUnanswered = !this.#finSent;
      return this.#startAttached(connection, this.#lane);
    }
    if (this.#held.length > 0) connection.gather();
    for (const bytes of this.#held) connection.send(bytes);
    this.#held = [];
    this.#heldBytes = 0;
    if (this.#finSent) connection.send(FIN, this.#handleFinSent);
    if (this.#wantsWrite) takeTurn(this);
  }

  /**
   * The server: the client goes on over `connection`, from its byte `offset` on. Goes on there itself after `answerAttach`.
   * @throws QtunnelError `PROTOCOL_VIOLATION`
   */
  attach(connection: TlsConnection, offset: number, ended: boolean): void {
    this.#lane!.handleAttach(offset, ended);
    this.#connection = connection;
    connection.handler = this;
  }

  /** Tells the client so: not before its OPEN is here, since from then on a reset comes over the stream's own connection only. */
  answerAttach(): void {
    this.#startAttached(this.#connection!, this.#lane!);
    this.#handleLaneProgress(this.#lane!);
  }

  read(into: Uint8Array): number {
    if (this.#endRead) return END;
    if (this.#over || into.length === 0) return NOTHING_YET;
    const n = this.#lane?.read(into) || (this.#isLaneComplete ? this.#incoming.read(into) : 0);
    if (n === 0) return this.#finReceived && this.#isLaneComplete ? this.#readEnd() : NOTHING_YET;
    if (this.#paused && this.#incoming.length <= this.#receiveLimit / 2) this.#resume();
    if (this.#isReadable) takeTurn(this);
    return n;
  }

  write(chunk: Uint8Array): number {
    if (this.#over || this.#finSent || chunk.length === 0) return 0;
    const taken = this.#send(chunk);
    if (taken < chunk.length) this.#wantsWrite = true;
    return taken;
  }

  sendDatagram(datagram: Uint8Array): boolean {
    return !this.#over && this.#lane !== null && this.#host.sendDatagram(this.id, datagram);
  }

  end(): void {
    if (this.#over || this.#finSent) return;
    this.#finSent = true;
    if (this.#connection !== null || this.#lane === null) this.#connection?.send(FIN, this.#handleFinSent);
    else {
      this.#lane.sendFin();
      this.#finFlushed = true;
      this.#endIfDone();
    }
    this.#releaseIfDone();
  }

  reset(reason: ResetReason, message = ''): void {
    if (this.#over) return;
    this.#cut(reason, message);
  }

  /** The link is gone: what `reset` does for the peer and what a reset of the peer's does for this side. */
  lose(reason: ResetReason, message: string): void {
    if (this.#over) return;
    this.#cut(reason, message);
    this.handler.onReset(reason, message);
  }

  /** A SMALL frame; `bytes` are valid during the call only. @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleSmall(bytes: Uint8Array): void {
    const lane = this.#lane!;
    lane.handleSmall(bytes);
    if (lane.isOutgrown) this.#wantConnection();
    this.#handleLaneProgress(lane);
  }

  /** FIN on the control connection. @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleLaneFin(): void {
    const lane = this.#lane!;
    lane.handleFin();
    this.#handleLaneProgress(lane);
  }

  /** CREDIT on the control connection. */
  handleCredit(offset: number): void {
    this.#lane!.handleCredit(offset);
    this.handleRoom();
  }

  /** The connection that it has asked for is long in coming: goes on in the lane until it is there. */
  goOnInLane(): void {
    if (this.#over || this.#connection !== null || this.#lane === null) return;
    this.#lane.release();
    this.handleRoom();
  }

  /** There is no connection for it; it may ask again after a while. */
  goWithout(reason: ResetReason, message: string): void {
    if (this.#lane === null) return this.lose(reason, message);
    this.#wantsConnection = false;
    this.#askFrom = this.#lane.total + ASK_AGAIN_AFTER;
    this.#lane.release();
    this.handleRoom();
  }

  /** RESET on the control connection. @throws QtunnelError `PROTOCOL_VIOLATION` */
  handleReset(payload: Uint8Array): void {
    const { reason, message } = decodeReset(payload);
    // The peer may learn of the stream's connection only now, and would go on there.
    this.#cut(null);
    this.handler.onReset(reason, message);
  }

  /** The stream may have room: tells the handler if it waits for that. */
  handleRoom(): void {
    if (this.#over || !this.#wantsWrite || this.#finSent) return;
    if (!this.#canSend) return this.#awaitLaneRoom();
    this.#wantsWrite = false;
    this.handler.onWritable();
  }

  /** The control connection is gone. A stream that still needs it is lost. */
  handleControlLost(message: string): void {
    const lane = this.#lane;
    if (lane === null || this.#over) return;
    const input = lane.isComplete && (this.#finReceived || lane.isAttached);
    const output = this.#finSent || this.#connection !== null;
    if (!input || !output) this.lose('LINK_LOST', message);
  }

  onFrame(type: number, payload: Uint8Array): void {
    if (type === FRAME.RESET) return this.handleReset(payload);
    if (type === FRAME.ATTACH && this.#lane !== null) return this.#handleAttach(payload, this.#lane);
    if (type === FRAME.READY && this.#isNotNeeded) return this.#detach();
    if (type !== FRAME.FIN || this.#finReceived || !this.#isAttached) {
      throw misplacedFrame(type);
    }
    this.#finReceived = true;
    takeTurn(this);
    this.#releaseIfDone();
  }

  onData(part: Uint8Array): void {
    if (this.#finReceived) throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer sent DATA after FIN.');
    if (!this.#isAttached) throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer sent DATA before ATTACH.');
    this.#incoming.push(part);
    if (!this.#paused && this.#incoming.length >= this.#receiveLimit) this.#pause();
    takeTurn(this);
  }

  onDrain(): void {
    this.handleRoom();
  }

  onLost(error: QtunnelError): void {
    if (this.#over) return;
    const reason = error.code === 'PROTOCOL_VIOLATION' ? 'PROTOCOL' : 'LINK_LOST';
    this.#cut(reason, error.message);
    this.handler.onReset(reason, error.message);
  }

  handleTurn(): void {
    if (!this.#over && this.#isReadable) this.handler.onReadable();
    this.handleRoom();
  }

  get #isReadable(): boolean {
    if ((this.#lane?.waiting ?? 0) > 0) return true;
    return this.#isLaneComplete && (this.#incoming.length > 0 || (this.#finReceived && !this.#endRead));
  }

  get #isLaneComplete(): boolean {
    return this.#lane === null || this.#lane.isComplete;
  }

  /** Whether the peer may send on the stream's own connection. */
  get #isAttached(): boolean {
    return this.#lane === null || this.#lane.isAttached;
  }

  /** Whether nothing more comes on the stream's own connection, though its lane may have been overtaken and be incomplete. */
  get #isHeardOut(): boolean {
    return this.#finReceived || this.#lane?.endsHere === true;
  }

  /** Whether the server may have been through with the stream before it heard of its connection. */
  get #isNotNeeded(): boolean {
    return this.#finSent && this.#lane !== null && !this.#lane.isAttached;
  }

  get #canSend(): boolean {
    if (this.#connection !== null) return this.#connection.hasRoom;
    return this.#lane?.canSend ?? false;
  }

  /** Room is told of once: who had nothing to do with it then, for want of credit, has to ask again. */
  #awaitLaneRoom(): void {
    if (this.#connection === null && this.#lane?.maySend === true) this.#host.waitForRoom(this);
  }

  #send(chunk: Uint8Array): number {
    if (this.#connection === null && this.#lane?.isOutgrownBySending(chunk.length)) this.#wantConnection();
    if (this.#connection !== null) return this.#connection.sendData(chunk);
    if (this.#lane === null) return this.#hold(chunk);
    const taken = this.#lane.send(chunk);
    if (taken < chunk.length) this.#host.waitForRoom(this);
    return taken;
  }

  #wantConnection(): void {
    if (this.#wantsConnection || this.#over || this.#connection !== null) return;
    if ((this.#lane?.total ?? 0) < this.#askFrom) return;
    this.#wantsConnection = true;
    this.#host.wantConnection(this);
  }

  #startAttached(connection: TlsConnection, lane: Lane): void {
    connection.gather();
    connection.send(encodeAttach(lane.id, lane.sent, this.#finSent));
    if (this.#wantsWrite) takeTurn(this);
  }

  #handleAttach(payload: Uint8Array, lane: Lane): void {
    const { stream, offset, ended } = decodeAttach(payload);
    if (stream !== lane.id) throw new QtunnelError('PROTOCOL_VIOLATION', 'The peer attached a connection to two streams.');
    lane.handleAttach(offset, ended);
    this.#isUnanswered = false;
    this.#handleLaneProgress(lane);
    this.#endIfDone();
  }

  #handleLaneProgress(lane: Lane): void {
    if (lane.hasEnded) this.#finReceived = true;
    takeTurn(this);
    this.#releaseIfDone();
  }

  #detach(): void {
    const connection = this.#connection!;
    this.#connection = null;
    this.#host.takeReady(connection);
  }

  #hold(chunk: Uint8Array): number {
    const taken = Math.min(chunk.length, Math.max(0, HOLD_LIMIT - this.#heldBytes));
    if (taken === 0) return 0;
    for (let at = 0; at < taken; at += MAX_DATA)
      this.#held.push(frame(FRAME.DATA, chunk.subarray(at, Math.min(at + MAX_DATA, taken))));
    this.#heldBytes += taken + HELD_OVERHEAD;
    return taken;
  }

  #readEnd(): number {
    this.#endRead = true;
    this.#endIfDone();
    return END;
  }

  #pause(): void {
    this.#paused = true;
    this.#connection?.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#connection?.resume();
  }

  readonly #handleFinSent = (error?: Error | null): void => {
    if (this.#over) return;
    if (error)
      return this.onLost(new QtunnelError('LINK_LOST', 'The connection was lost before everything was sent.', { cause: error }));
    this.#finFlushed = true;
    this.#endIfDone();
  };

  #releaseIfDone(): void {
    const connection = this.#connection;
    if (connection === null || !this.#finSent || !this.#isHeardOut || !this.#isAttached) return;
    this.#connection = null;
    if (this.#paused) connection.resume();
    this.#host.release(connection);
  }

  #endIfDone(): void {
    if (!this.#endRead || !this.#finFlushed || this.#isUnanswered || this.#over) return;
    this.#over = true;
    this.#host.forget(this);
  }

  /** Tells the peer `reason`, unless it is the peer's. Before the peer has heard of the stream's connection, that goes by the lane as well. */
  #cut(reason: ResetReason | null, message = ''): void {
    this.#over = true;
    this.#held = [];
    this.#incoming.clear();
    this.#lane?.clear();
    this.#connection?.cutOff(reason === null ? null : encodeReset(0, reason, message));
    const knows = reason === null ? this.#connection === null || this.#isAttached : this.#connection !== null && this.#isAttached;
    if (!knows) this.#lane?.sendReset(reason ?? 'RESET', message);
    this.#host.forget(this);
  }
}

const FIN = frame(FRAME.FIN, new Uint8Array(0));
const NOBODY: StreamHandler = { onReadable() {}, onWritable() {}, onReset() {} };
/**
 * Bytes that one stream holds for its reader, `-buffer` allowing; what TLS has decrypted by the time it is told to stop (64 KiB) may come on
 * top. The kernel's socket buffers make the window; this needs to last only for one turn of the event loop.
 */
const RECEIVE_LIMIT = 256 * 1024;
/** Bytes that go through the lane before a stream that got no connection asks again: each time it has to wait. */
const ASK_AGAIN_AFTER = 4 * 1024 * 1024;
/** Bytes that one stream holds for a connection that is not there yet. */
const HOLD_LIMIT = 256 * 1024;
/** Bytes that a frame costs besides its own while it waits. */
const HELD_OVERHEAD = 256;
