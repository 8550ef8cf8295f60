import { setMaxListeners } from 'node:events';
import { QtunnelError } from '../errors.ts';
import { Backoff } from '../protocol/backoff.ts';
import { FRAME, misplacedFrame } from '../protocol/frames.ts';
import type { ConnectionHandler, TlsConnection } from './connection.ts';
import type { StreamSource } from './link.ts';
import type { TlsStream } from './stream.ts';

/** Makes an authenticated connection and hands it to `takeOver`, which gives it a handler; rejects with a QtunnelError. */
export type DialForPool = (signal: AbortSignal, takeOver: (connection: TlsConnection) => void) => Promise<void>;

/**
 * Connections that have been made and authenticated ahead of need, so that a stream waits for no handshake, and those whose stream has ended.
 *
 *     supply ──▶ warm? ──▶ stream.start          dial ──▶ somebody waits? ──▶ stream.start
 *                 └─ none ─▶ waiting, target × 2   ▲          └─ nobody ──▶ warm
 *     giveBack ──▶ returning ── READY ─────────────┘  (takeReady: READY has come)
 *
 * There are dials until `target` are warm. More than that stay when they come back, so that a load that comes and goes meets no handshakes; every
 * `LOOK_INTERVAL` half of those that were not needed in it leave.
 */
export class WarmPool implements StreamSource {
  readonly #dial: DialForPool;
  readonly #aborter = new AbortController();
  readonly #backoff = new Backoff(RETRY_INITIAL, RETRY_MAXIMUM, Math.random);
  readonly #warm: TlsConnection[] = [];
  /** Given back, and the server has not said that they are ready. */
  #returning = new Set<TlsConnection>();
  /** Those of them that were given back before the last look. */
  #overdue = new Set<TlsConnection>();
  /** Streams without a connection and when they came, oldest first. */
  #waiting: { stream: TlsStream; since: number }[] = [];
  #dialling = 0;
  #target = MIN_WARM;
  /** The fewest warm connections since the last look. */
  #spare = 0;
  #draining = false;
  #retryTimer: NodeJS.Timeout | null = null;
  #lookTimer: NodeJS.Timeout | null = null;

  constructor(dial: DialForPool) {
    this.#dial = dial;
    setMaxListeners(MAX_DIALS, this.#aborter.signal);
    this.#refill();
  }

  /** Connections that are ready. */
  get warm(): number {
    return this.#warm.length;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  supply(stream: TlsStream): void {
    // The newest is the likeliest to be alive.
    const connection = this.#warm.pop();
    this.#spare = Math.min(this.#spare, this.#warm.length);
    if (connection === undefined) this.#wait(stream);
    else stream.start(connection);
    this.#refill();
  }

  giveBack(connection: TlsConnection): void {
    if (this.#draining) return connection.finish();
    this.#returning.add(connection);
    connection.handler = new WaitingConnection(
      {
        onReady: () => this.#handleReady(connection),
        onReset: () => {
          this.#stopReturning(connection);
          connection.finish();
        },
      },
      () => this.#stopReturning(connection),
    );
    this.#lookLater();
  }

  takeReady(connection: TlsConnection): void {
    this.#use(connection);
  }

  drain(): void {
    this.#draining = true;
    this.#target = 0;
    this.#dropWarm(0);
    for (const connection of [...this.#returning, ...this.#overdue]) connection.finish();
    this.#returning.clear();
    this.#overdue.clear();
    if (this.#lookTimer !== null) clearTimeout(this.#lookTimer);
  }

  close(): void {
    this.drain();
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#aborter.abort();
    this.#giveUp(Infinity, new QtunnelError('LINK_LOST', 'The link was lost before a connection was there for the stream.'));
  }

  #wait(stream: TlsStream): void {
    this.#waiting.push({ stream, since: performance.now() });
    this.#target = Math.min(MAX_AHEAD, this.#target * 2);
    this.#lookLater();
  }

  #refill(): void {
    if (this.#retryTimer !== null || this.#aborter.signal.aborted) return;
    const ahead = this.#target - this.#warm.length - this.#returning.size;
    const wanted = this.#waiting.length + Math.max(0, ahead) - this.#dialling;
    for (let n = Math.min(wanted, MAX_DIALS - this.#dialling); n > 0; n--) this.#startDial();
  }

  #startDial(): void {
    this.#dialling++;
    this.#dial(this.#aborter.signal, this.#onDialled).catch(this.#onDialFailed);
  }

  readonly #onDialled = (connection: TlsConnection): void => {
    this.#dialling--;
    if (this.#aborter.signal.aborted) return connection.destroy();
    this.#backoff.reset();
    this.#use(connection);
    this.#refill();
  };

  #handleReady(connection: TlsConnection): void {
    this.#stopReturning(connection);
    this.#use(connection);
  }

  #stopReturning(connection: TlsConnection): void {
    if (!this.#returning.delete(connection)) this.#overdue.delete(connection);
  }

  #use(connection: TlsConnection): void {
    const stream = this.#nextWaiting();
    if (stream !== null) stream.start(connection);
    else if (this.#draining || this.#warm.length >= MAX_WARM) connection.cutOff(null);
    else this.#keep(connection);
  }

  readonly #onDialFailed = (error: QtunnelError): void => {
    this.#dialling--;
    if (this.#aborter.signal.aborted) return;
    // A server that drains listens no more.
    const hopeless = this.#draining || !TRANSIENT.has(error.code);
    this.#giveUp(hopeless ? Infinity : performance.now() - MAX_WAIT, error);
    this.#retryLater();
  };

  #keep(connection: TlsConnection): void {
    this.#warm.push(connection);
    connection.handler = new WaitingConnection(null, () => {
      const at = this.#warm.indexOf(connection);
      if (at >= 0) this.#warm.splice(at, 1);
      this.#spare = Math.min(this.#spare, this.#warm.length);
      this.#retryLater();
    });
  }

  #retryLater(): void {
    if (this.#aborter.signal.aborted) return;
    this.#retryTimer ??= setTimeout(this.#retry, this.#backoff.next());
  }

  readonly #retry = (): void => {
    this.#retryTimer = null;
    this.#refill();
  };

  #nextWaiting(): TlsStream | null {
    for (;;) {
      const next = this.#waiting.shift();
      if (next === undefined) return null;
      if (!next.stream.isOver) return next.stream;
    }
  }

  /** Resets the streams that have waited since before `deadline`. */
  #giveUp(deadline: number, error: QtunnelError): void {
    const waiting = this.#waiting;
    this.#waiting = waiting.filter(({ stream, since }) => since > deadline && !stream.isOver);
    for (const { stream, since } of waiting) if (since <= deadline) stream.goWithout('LINK_LOST', error.message);
  }

  #lookLater(): void {
    if (!this.#draining) this.#lookTimer ??= setTimeout(this.#look, LOOK_INTERVAL);
  }

  /** Also lets those go that the server does not make ready: it reads on when its backend does, and that may take for ever. */
  readonly #look = (): void => {
    this.#lookTimer = null;
    const leaving = Math.ceil(this.#spare / 2);
    this.#target = Math.max(MIN_WARM, this.#target - leaving);
    this.#dropWarm(Math.max(MIN_WARM, this.#warm.length - leaving));
    this.#spare = this.#warm.length;
    for (const connection of this.#overdue) connection.finish();
    this.#overdue = this.#returning;
    this.#returning = new Set();
    if (this.#target > MIN_WARM || this.#warm.length > MIN_WARM || this.#overdue.size > 0) this.#lookLater();
  };

  #dropWarm(keep: number): void {
    for (const connection of this.#warm.splice(0, Math.max(0, this.#warm.length - keep))) connection.cutOff(null);
  }
}

/**
 * The client's end of a connection without a stream. The server has nothing to say on it but, once, after a stream has ended, READY; or RESET, when it has given up the stream before it knew that the
 * client was through with it.
 */
class WaitingConnection implements ConnectionHandler {
  readonly onLost: () => void;
  readonly #return: { onReady(): void; onReset(): void } | null;

  /** `comesBack` is null for one that is ready. */
  constructor(comesBack: { onReady(): void; onReset(): void } | null, onLost: () => void) {
    this.#return = comesBack;
    this.onLost = onLost;
  }

  onFrame(type: number): void {
    if (type === FRAME.READY && this.#return !== null) this.#return.onReady();
    else if (type === FRAME.RESET && this.#return !== null) this.#return.onReset();
    else throw misplacedFrame(type, 'on a connection without a stream');
  }

  onData(): void {
    throw misplacedFrame(FRAME.DATA, 'on a connection without a stream');
  }

  onDrain(): void {
    // Nothing is written here.
  }
}

/** Enough for a browser's or shell's next connection; each costs the server two descriptors' worth of memory, some 50 KB. */
export const MIN_WARM = 2;
/** The most that are made ahead. */
const MAX_AHEAD = 64;
/** The most that are kept when they come back: a program that opens many connections at once mostly does so again. */
const MAX_WARM = 256;
/** Handshakes at once. One costs 1.5 ms of CPU time for both sides (RSA 2048), and a server takes 256 strangers at once. */
const MAX_DIALS = 32;
/** Milliseconds. */
const LOOK_INTERVAL = 5_000;
const RETRY_INITIAL = 100;
const RETRY_MAXIMUM = 5_000;
/** Milliseconds that a stream waits for a connection while dialling fails. */
const MAX_WAIT = 5_000;
const TRANSIENT: ReadonlySet<string> = new Set(['LINK_REFUSED', 'LINK_TIMEOUT', 'LINK_LOST', 'SERVER_BUSY']);
