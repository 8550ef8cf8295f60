import { asQtunnelError, type ErrorCode, QtunnelError } from '../errors.ts';
import type { Link, LinkHandler, LinkStream, OpenRequest } from '../link/link.ts';
import { Backoff } from '../protocol/backoff.ts';
import type { Timer, Timers } from './timers.ts';

export interface KeeperHandler {
  onUp(link: Link): void;
  /** The link went `stalled` or came back from it. */
  onStateChange(link: Link): void;
  /** The link goes on from another local address. */
  onMove(link: Link, local: string): void;
  /** The link began with early data: whether the server took it. */
  onEarlyData(link: Link, taken: boolean): void;
  /** The link ended, or an attempt to make one failed; `link` is null then. Another attempt follows after `retryIn` milliseconds. */
  onDown(link: Link | null, reason: QtunnelError, retryIn: number): void;
  /** The link is not wanted any more: it was drained, or closed for `reason`. */
  onRetired(link: Link, reason: QtunnelError): void;
  /** A link that was up is closed, with everything that it carried. */
  onClosed(link: Link): void;
  /** The server opened a stream; left out by who takes none. The callee sets `stream.handler`, or resets the stream. */
  onStream?(link: Link, stream: LinkStream, request: OpenRequest): void;
}

/**
 * Keeps one link of one transport up for as long as it is wanted:
 *
 *     idle ── start ──▶ connecting ── link ──▶ up ── closed, draining ──▶ connecting (at once when it was up for long, else with back-off)
 *       ▲                 │  ▲                 │
 *       │               failed└── back-off     │
 *       └── stop ─────────┴────────────────────┘   (an attempt is aborted, a link drained)
 */
export class LinkKeeper {
  readonly #connect: (signal: AbortSignal) => Promise<Link>;
  readonly #handler: KeeperHandler;
  readonly #backoff = new Backoff(RETRY_INITIAL, RETRY_MAXIMUM, Math.random);
  readonly #refusedBackoff = new Backoff(REFUSED_INITIAL, REFUSED_MAXIMUM, Math.random);
  #link: Link | null = null;
  #attempt: AbortController | null = null;
  readonly #timers: Timers;
  #timer: Timer | null = null;
  #upSince = 0;
  #wanted = false;

  constructor(connect: (signal: AbortSignal) => Promise<Link>, handler: KeeperHandler, timers: Timers) {
    this.#connect = connect;
    this.#handler = handler;
    this.#timers = timers;
  }

  /** The link that is there, up or stalled; null without one. */
  get link(): Link | null {
    return this.#link;
  }

  get wanted(): boolean {
    return this.#wanted;
  }

  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#try();
  }

  /** Makes no more links; the one that is there carries its streams to their ends, unless `reason` says to end it at once. */
  stop(reason?: QtunnelError): void {
    this.#wanted = false;
    this.#attempt?.abort();
    this.#attempt = null;
    this.#timer?.cancel();
    this.#timer = null;
    const link = this.#link;
    this.#link = null;
    if (link === null) return;
    this.#handler.onRetired(link, reason ?? new QtunnelError('LINK_CLOSED', 'The link is not needed any more.'));
    if (reason === undefined) link.drain();
    else link.close(reason);
  }

  #try(): void {
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#timer = null;
    this.#connect(attempt.signal).then(
      (link) => this.#handleLink(link, attempt),
      (error: unknown) => this.#handleFailure(asQtunnelError(error), attempt),
    );
  }

  #handleLink(link: Link, attempt: AbortController): void {
    // It came although it was given up, and there may be a new attempt.
    if (this.#attempt !== attempt) return link.close(new QtunnelError('LINK_CLOSED', 'The link is not wanted any more.'));
    if (link.state === 'draining' || link.state === 'closed') {
      const gone = new QtunnelError('LINK_LOST', 'The server ended the link as soon as it was made.');
      link.close(gone);
      return this.#handleFailure(gone, attempt);
    }
    this.#attempt = null;
    this.#link = link;
    this.#upSince = this.#timers.now();
    this.#refusedBackoff.reset();
    link.handler = this.#linkHandler(link);
    this.#handler.onUp(link);
  }

  #linkHandler(link: Link): LinkHandler {
    return {
      onStream: (stream, request) => {
        if (this.#handler.onStream === undefined) stream.reset('PROTOCOL', 'this side opens streams, it takes none');
        else this.#handler.onStream(link, stream, request);
      },
      onStateChange: (state) => {
        if (this.#link !== link) return;
        if (state === 'draining') this.#replace(link, new QtunnelError('SHUTTING_DOWN', 'The server is shutting down.'));
        else if (state !== 'closed') this.#handler.onStateChange(link);
      },
      onMove: (local) => this.#handler.onMove(link, local),
      onEarlyData: (taken) => this.#handler.onEarlyData(link, taken),
      onClose: (reason) => {
        this.#handler.onClosed(link);
        if (this.#link === link) this.#replace(link, reason);
      },
    };
  }

  /** The link takes no more streams: looks for another at once. A server that hangs up on each is met by back-off all the same. */
  #replace(link: Link, reason: QtunnelError): void {
    this.#link = null;
    const accident = this.#timers.now() - this.#upSince >= STABLE && !REFUSED.has(reason.code);
    if (accident) this.#backoff.reset();
    this.#handler.onDown(link, reason, this.#retryAfter(accident ? 0 : this.#delay(reason)));
  }

  #handleFailure(error: QtunnelError, attempt: AbortController): void {
    if (this.#attempt !== attempt) return;
    this.#attempt = null;
    this.#handler.onDown(null, error, this.#retryAfter(this.#delay(error)));
  }

  #delay(error: QtunnelError): number {
    return (REFUSED.has(error.code) ? this.#refusedBackoff : this.#backoff).next();
  }

  #retryAfter(delay: number): number {
    this.#timer = this.#timers.setTimer(() => this.#try(), delay);
    return Math.round(delay);
  }
}

/** A server that says no will say no again: these wait longer, so that a wrong secret is not hammered in. */
export const REFUSED: ReadonlySet<ErrorCode> = new Set([
  'AUTH_REJECTED',
  'AUTH_SERVER',
  'CERT_UNTRUSTED',
  'CERT_CHANGED',
  'PIN_MISMATCH',
  'VERSION_MISMATCH',
  'SERVER_BUSY',
]);
/** Milliseconds for which a link has been up when its end is an accident: the next attempt follows at once. */
const STABLE = 5_000;
/** Milliseconds between attempts. The network's return is noticed within the maximum, so it is short; an attempt costs two packets. */
const RETRY_INITIAL = 100;
const RETRY_MAXIMUM = 2_000;
const REFUSED_INITIAL = 5_000;
const REFUSED_MAXIMUM = 60_000;
