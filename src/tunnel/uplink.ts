import { QtunnelError } from '../errors.ts';
import type { Link, LinkStream, OpenRequest } from '../link/link.ts';
import { type KeeperHandler, LinkKeeper, REFUSED } from './link-keeper.ts';
import type { Timer, Timers } from './timers.ts';
import { TransportChoice } from './transport-choice.ts';
import type { WatchedSet } from './watched-set.ts';

export type Transport = Link['transport'];
/** What new connections take where there is more than one way. */
export type Preference = 'quic' | 'auto';

export interface UplinkHandler {
  onUp(link: Link): void;
  onStateChange(link: Link): void;
  onMove(link: Link, local: string): void;
  onEarlyData(link: Link, taken: boolean): void;
  /** `link` is null when an attempt failed. */
  onDown(transport: Transport, link: Link | null, reason: QtunnelError, retryIn: number): void;
  /** The link is not wanted any more: it carries its streams to their ends, or was closed. */
  onRetired(link: Link, reason: QtunnelError): void;
  /** A link that was up is closed, with everything that it carried. */
  onClosed(link: Link): void;
  /** As in `KeeperHandler`. */
  onStream?(link: Link, stream: LinkStream, request: OpenRequest): void;
  /**
   * Resolves when the server opens no more streams on other links than this one, which is up; until then a fallback's link is kept beside it. At once where this is
   * left out.
   */
  whenTaken?(link: Link): Promise<void>;
  /** New connections go this way from now on, because the path has shown this round-trip time (ms) and share of lost datagrams. */
  onChoice(transport: Transport, path: { readonly rtt: number; readonly lossRate: number }): void;
}

/** How to make a link of each transport that may be used. */
export type Connect = Partial<Record<Transport, (signal: AbortSignal) => Promise<Link>>>;

/**
 * The client's way to one server: the link that a new connection should take now. With QUIC and TLS:
 *
 *     QUIC up ─────────────▶ QUIC; TLS is drained
 *     QUIC stalled ────────▶ TLS as soon as it is up, QUIC until then (its streams stay where they are)
 *     nobody on the port ──▶ TLS at once              } QUIC is tried again
 *     QUIC down otherwise ─▶ TLS after FALLBACK_AFTER } all the while
 *     the server says no ──▶ no TLS either, unless it is up
 *
 * When told to choose, it keeps both and takes whichever `TransportChoice` prefers, or the other while that is not there.
 */
export class Uplink {
  readonly #open: WatchedSet<Link>;
  readonly #timers: Timers;
  #keepers: Partial<Record<Transport, LinkKeeper>> = {};
  #fallbackTimer: Timer | null = null;
  /** Null where QUIC is preferred whatever happens. */
  #choice: TransportChoice | null = null;
  #lookTimer: Timer | null = null;

  /** Keeps its links in `open` for as long as they are not closed. */
  constructor(open: WatchedSet<Link>, timers: Timers) {
    this.#open = open;
    this.#timers = timers;
  }

  /**
   * Makes links in this way from now on. Those made in another way carry their streams to their ends. With both transports QUIC is preferred, unless `preference` is to choose by the path.
   */
  use(connect: Connect, handler: UplinkHandler, preference: Preference = 'quic'): void {
    this.stop();
    this.#keepers = {};
    for (const transport of ['quic', 'tls'] as const) {
      const make = connect[transport];
      if (make !== undefined)
        this.#keepers[transport] = new LinkKeeper(make, this.#keeperHandler(transport, handler), this.#timers);
    }
    const { quic, tls } = this.#keepers;
    if (quic === undefined) return tls?.start();
    quic.start();
    if (preference === 'auto' && tls !== undefined) return this.#beginToChoose(quic, tls, handler);
    this.#planFallback(FALLBACK_AFTER);
  }

  /** The links that are there, the preferred one first. */
  get links(): Link[] {
    const { quic, tls } = this.#keepers;
    const keepers = this.#choice?.preferred === 'tls' ? [tls, quic] : [quic, tls];
    return keepers.map((keeper) => keeper?.link).filter((link) => link !== undefined && link !== null);
  }

  /** The link for a new connection; null when there is none. A stalled one is better than none: it may come back. */
  current(): Link | null {
    const { links } = this;
    return links.find((link) => link.state === 'up') ?? links[0] ?? null;
  }

  /** Makes no more links. Those that are there carry their streams to their ends, unless `reason` says to end them at once. */
  stop(reason?: QtunnelError): void {
    this.#cancelFallback();
    this.#lookTimer?.cancel();
    this.#choice = null;
    this.#keepers.quic?.stop(reason);
    this.#keepers.tls?.stop(reason);
  }

  #keeperHandler(transport: Transport, handler: UplinkHandler): KeeperHandler {
    return {
      onUp: (link) => {
        this.#open.add(link);
        handler.onUp(link);
        if (transport === 'quic') this.#endFallback(link, handler);
      },
      onStateChange: (link) => {
        handler.onStateChange(link);
        if (transport !== 'quic') return;
        if (link.state === 'stalled') this.#planFallback(0);
        else this.#endFallback(link, handler);
      },
      onMove: (link, local) => handler.onMove(link, local),
      onEarlyData: (link, taken) => handler.onEarlyData(link, taken),
      onDown: (link, reason, retryIn) => {
        handler.onDown(transport, link, reason, retryIn);
        if (transport === 'quic') this.#handleQuicDown(link, reason);
      },
      onRetired: (link, reason) => handler.onRetired(link, reason),
      onClosed: (link) => {
        handler.onClosed(link);
        this.#open.delete(link);
      },
      ...(handler.onStream !== undefined && { onStream: handler.onStream.bind(handler) }),
    };
  }

  #beginToChoose(quic: LinkKeeper, tls: LinkKeeper, handler: UplinkHandler): void {
    const choice = (this.#choice = new TransportChoice());
    tls.start();
    const look = (): void => {
      this.#lookTimer = this.#timers.setTimer(look, LOOK_INTERVAL);
      if (quic.link === null || !choice.handleLook(quic.link.stats(), tls.link?.stats() ?? null)) return;
      handler.onChoice(choice.preferred, choice);
    };
    look();
  }

  #handleQuicDown(link: Link | null, reason: QtunnelError): void {
    if (REFUSED.has(reason.code)) return this.#handleRefused();
    const nothingThere = link === null && (reason.code === 'LINK_REFUSED' || reason.code === 'QUIC_UNAVAILABLE');
    this.#planFallback(nothingThere ? 0 : FALLBACK_AFTER);
  }

  /** Whoever says no over UDP will say no over TCP as well, unless he has just said yes there. */
  #handleRefused(): void {
    const tls = this.#keepers.tls?.link ?? null;
    if (tls === null) this.#dropFallback();
  }

  #planFallback(delay: number): void {
    const { tls } = this.#keepers;
    if (tls === undefined || tls.wanted) return;
    if (this.#fallbackTimer !== null && delay > 0) return;
    this.#cancelFallback();
    this.#fallbackTimer = this.#timers.setTimer(() => {
      this.#fallbackTimer = null;
      tls.start();
    }, delay);
  }

  /** QUIC is up. */
  #endFallback(link: Link, handler: UplinkHandler): void {
    const { tls } = this.#keepers;
    if (handler.whenTaken === undefined || (tls?.link ?? null) === null) return this.#dropFallback();
    this.#cancelFallback();
    void handler.whenTaken(link).then(() => {
      if (this.#keepers.tls === tls && link.state === 'up') this.#dropFallback();
    });
  }

  #dropFallback(): void {
    this.#cancelFallback();
    if (this.#choice !== null) return;
    this.#keepers.tls?.stop();
  }

  #cancelFallback(): void {
    this.#fallbackTimer?.cancel();
    this.#fallbackTimer = null;
  }
}

/** Milliseconds that QUIC gets before TLS is tried beside it. */
const FALLBACK_AFTER = 3_000;
/** Milliseconds. */
const LOOK_INTERVAL = 1_000;
