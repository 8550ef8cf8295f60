import { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import { type KeeperHandler, LinkKeeper, REFUSED } from './link-keeper.ts';
import { WatchedSet } from './watched-set.ts';

export type Transport = Link['transport'];

export interface UplinkHandler {
  onUp(link: Link): void;
  onStateChange(link: Link): void;
  /** `link` is null when an attempt failed. */
  onDown(transport: Transport, link: Link | null, reason: QtunnelError, retryIn: number): void;
  /** The link is not wanted any more: it carries its streams to their ends, or was closed. */
  onRetired(link: Link, reason: QtunnelError): void;
}

export interface UplinkOptions {
  /** How to make a link of each transport that may be used. With both, QUIC is preferred and TLS takes over while it is not there. */
  readonly connect: Partial<Record<Transport, (signal: AbortSignal) => Promise<Link>>>;
}

/**
 * The client's way to the server: the link that a new connection should take now. With QUIC and TLS:
 *
 *     QUIC up ─────────────▶ QUIC; TLS is drained
 *     QUIC stalled ────────▶ TLS as soon as it is up, QUIC until then (its streams stay where they are)
 *     QUIC down, refused ──▶ TLS at once            } QUIC is tried again all the while
 *     QUIC down otherwise ─▶ TLS after FALLBACK_AFTER }
 */
export class Uplink {
  /** All links that are not closed, those included that only carry their last streams. */
  readonly open = new WatchedSet<Link>();
  readonly #handler: UplinkHandler;
  readonly #keepers: Partial<Record<Transport, LinkKeeper>> = {};
  readonly #waiting = new Set<(link: Link) => void>();
  #fallbackTimer: NodeJS.Timeout | null = null;

  constructor(options: UplinkOptions, handler: UplinkHandler) {
    this.#handler = handler;
    for (const transport of ['quic', 'tls'] as const) {
      const connect = options.connect[transport];
      if (connect !== undefined) this.#keepers[transport] = new LinkKeeper(connect, this.#keeperHandler(transport));
    }
  }

  start(): void {
    const { quic, tls } = this.#keepers;
    if (quic === undefined) return tls?.start();
    quic.start();
    this.#planFallback(FALLBACK_AFTER);
  }

  /** The links that are there, the preferred one first. */
  get links(): Link[] {
    return [this.#keepers.quic?.link, this.#keepers.tls?.link].filter((link) => link !== undefined && link !== null);
  }

  /** The link for a new connection; null when there is none. A stalled one is better than none: it may come back. */
  current(): Link | null {
    const { links } = this;
    return links.find((link) => link.state === 'up') ?? links[0] ?? null;
  }

  /** Calls `take` with a link as soon as there is one. Returns a function that takes the wish back. */
  whenUp(take: (link: Link) => void): () => void {
    this.#waiting.add(take);
    return () => this.#waiting.delete(take);
  }

  /** Makes no more links. Those that are there carry their streams to their ends, unless `reason` says to end them at once. */
  stop(reason?: QtunnelError): void {
    this.#cancelFallback();
    this.#keepers.quic?.stop(reason);
    this.#keepers.tls?.stop(reason);
  }

  #keeperHandler(transport: Transport): KeeperHandler {
    return {
      onUp: (link) => {
        this.open.add(link);
        this.#handler.onUp(link);
        if (transport === 'quic') this.#endFallback();
        for (const take of this.#takeWaiting()) take(link);
      },
      onStateChange: (link) => {
        this.#handler.onStateChange(link);
        if (transport !== 'quic') return;
        if (link.state === 'stalled') this.#planFallback(0);
        else this.#endFallback();
      },
      onDown: (link, reason, retryIn) => {
        this.#handler.onDown(transport, link, reason, retryIn);
        if (transport === 'quic') this.#handleQuicDown(link, reason);
      },
      onRetired: (link, reason) => this.#handler.onRetired(link, reason),
      onClosed: (link) => this.open.delete(link),
    };
  }

  #handleQuicDown(link: Link | null, reason: QtunnelError): void {
    // Whoever refuses us over UDP refuses us over TCP as well.
    if (REFUSED.has(reason.code)) return this.#endFallback();
    const nothingThere = link === null && reason.code === 'LINK_REFUSED';
    this.#planFallback(nothingThere ? 0 : FALLBACK_AFTER);
  }

  #planFallback(delay: number): void {
    const { tls } = this.#keepers;
    if (tls === undefined || tls.wanted) return;
    if (this.#fallbackTimer !== null && delay > 0) return;
    this.#cancelFallback();
    this.#fallbackTimer = setTimeout(() => {
      this.#fallbackTimer = null;
      tls.start();
    }, delay);
  }

  #endFallback(): void {
    this.#cancelFallback();
    this.#keepers.tls?.stop();
  }

  #cancelFallback(): void {
    if (this.#fallbackTimer !== null) clearTimeout(this.#fallbackTimer);
    this.#fallbackTimer = null;
  }

  #takeWaiting(): ((link: Link) => void)[] {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    return waiting;
  }
}

/** Milliseconds that QUIC gets before TLS is tried beside it. */
const FALLBACK_AFTER = 3_000;
