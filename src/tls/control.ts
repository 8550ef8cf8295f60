import { QtunnelError } from '../errors.ts';
import { type PatientTimer, setPatientTimer } from '../link/patient-timer.ts';
import { FRAME, misplacedFrame } from '../protocol/frames.ts';
import { Liveness } from '../protocol/liveness.ts';
import { decodeGoAway, decodePing, encodePing } from '../protocol/messages.ts';
import type { ConnectionHandler, TlsConnection } from './connection.ts';

/** What a control connection tells its link. */
export interface ControlHandler {
  /** A frame about a stream. @throws QtunnelError `PROTOCOL_VIOLATION`, which ends the connection. */
  onStreamFrame(type: number, payload: Uint8Array): void;
  /** SMALL frames may go again. */
  onRoom(): void;
  onStalled(): void;
  onAlive(): void;
  onGoAway(): void;
  /** The peer was silent for too long. */
  onDead(): void;
  /** The peer has taken in all that was sent before `askForTaken`. */
  onTaken(): void;
  onControlLost(error: QtunnelError): void;
}

/** A link's control connection: pings, the round-trip time they measure, and GOAWAY. */
export class Control implements ConnectionHandler {
  /** Smoothed round-trip time in milliseconds; NaN before the first measurement. */
  rtt: number;
  #isMeasured = false;
  readonly #connection: TlsConnection;
  readonly #liveness: Liveness;
  readonly #handler: ControlHandler;
  readonly #ping = new Uint8Array(PING_LENGTH);
  #pings = 0;
  #pingAt = 0;
  #stalled = false;
  #asksForTaken = false;
  /** The peer's last question, when the connection was backed up. */
  #unanswered: Uint8Array | null = null;
  #timer: PatientTimer | null = null;

  /** `keepalive` and `idleTimeout` are milliseconds. Asks at once, to learn the round-trip time. */
  constructor(
    connection: TlsConnection,
    options: { keepalive: number; idleTimeout: number; stall: number; rtt: number },
    handler: ControlHandler,
  ) {
    this.#connection = connection;
    this.#handler = handler;
    this.rtt = options.rtt;
    const now = performance.now();
    this.#liveness = new Liveness({ ...options, now });
    connection.handler = this;
    this.#sendPing(now);
    this.#arm(now);
  }

  send(bytes: Uint8Array): void {
    this.#connection.send(bytes);
  }

  /** Whether `sendSmall` takes a frame now. */
  get hasRoom(): boolean {
    return this.#connection.hasRoomForSmall;
  }

  sendSmall(stream: number, bytes: Uint8Array): boolean {
    return this.#connection.sendSmall(stream, bytes);
  }

  /** Whether so many bytes of frames would not wait for long. */
  hasRoomFor(bytes: number): boolean {
    return this.#connection.hasRoomFor(bytes);
  }

  /** Sends a part of a datagram, or nothing when the connection is backed up. */
  sendPart(part: Uint8Array): boolean {
    return this.#connection.trySend(FRAME.DATAGRAM, part);
  }

  /** Sends a frame with others of this turn. A peer that asks for such frames but does not take them loses the connection. */
  sendSoon(bytes: Uint8Array): void {
    if (this.#connection.queued <= MOST_QUEUED) return this.#connection.sendSoon(bytes);
    this.#connection.fail(new QtunnelError('PROTOCOL_VIOLATION', 'The peer does not take what the control connection has for it.'));
  }

  /** Has `onTaken` called once, unless the connection is lost before. */
  askForTaken(): void {
    if (this.#asksForTaken) return;
    this.#asksForTaken = true;
    this.#sendPing(performance.now());
  }

  /** Ends the connection after what was sent. */
  close(): void {
    this.#stop();
    this.#connection.cutOff(null);
  }

  onFrame(type: number, payload: Uint8Array): void {
    this.#hear();
    switch (type) {
      case FRAME.PING:
        return this.#answer(decodePing(payload));
      case FRAME.PONG:
        return this.#measure(decodePing(payload));
      case FRAME.GOAWAY:
        decodeGoAway(payload);
        return this.#handler.onGoAway();
      default:
        return this.#handler.onStreamFrame(type, payload);
    }
  }

  onData(): void {
    throw misplacedFrame(FRAME.DATA, 'on the control connection');
  }

  onDrain(): void {
    if (this.#unanswered !== null) this.#sendPong(this.#unanswered);
    this.#handler.onRoom();
  }

  onLost(error: QtunnelError): void {
    this.#stop();
    this.#handler.onControlLost(error);
  }

  /** A peer that asks and does not read the answers gets no more of them, but that to its last question when it has read what was before. */
  #answer(opaque: Uint8Array): void {
    if (this.#connection.queued < MAX_QUEUED) this.#sendPong(opaque);
    else this.#unanswered = Uint8Array.from(opaque);
  }

  #sendPong(opaque: Uint8Array): void {
    this.#unanswered = null;
    this.#connection.send(encodePing(FRAME.PONG, opaque));
  }

  #hear(): void {
    this.#liveness.handleHeard(performance.now());
    if (!this.#stalled) return;
    this.#stalled = false;
    this.#handler.onAlive();
  }

  #measure(opaque: Uint8Array): void {
    if (opaque[0] !== this.#ping[0]) return;
    const sample = performance.now() - this.#pingAt;
    // What is slower than before often tells of a process that was busy, as at its start; what is faster tells of the path.
    this.rtt = this.#isMeasured ? this.rtt + (sample - this.rtt) / (sample < this.rtt ? 2 : 8) : sample;
    this.#isMeasured = true;
    if (!this.#asksForTaken) return;
    this.#asksForTaken = false;
    this.#handler.onTaken();
  }

  #sendPing(now: number): void {
    this.#ping[0] = ++this.#pings;
    this.#pingAt = now;
    this.#connection.send(encodePing(FRAME.PING, this.#ping));
    this.#liveness.handleAsked(now);
  }

  #arm(now: number): void {
    this.#timer = setPatientTimer(this.#look, Math.max(1, Math.ceil(this.#liveness.deadline(now) - now)));
  }

  readonly #look = (): void => {
    const now = performance.now();
    const state = this.#liveness.state(now);
    if (state === 'dead') return this.#handler.onDead();
    if (this.#liveness.pollPing(now)) this.#sendPing(now);
    this.#arm(now);
    if (state !== 'stalled' || this.#stalled) return;
    this.#stalled = true;
    this.#handler.onStalled();
  };

  #stop(): void {
    this.#timer?.cancel();
  }
}

const PING_LENGTH = 8;
/** Bytes of answers that may wait for the kernel. */
const MAX_QUEUED = 16_384;
/** Bytes of frames that end or refuse streams: tens of thousands of them. */
const MOST_QUEUED = 1_048_576;
