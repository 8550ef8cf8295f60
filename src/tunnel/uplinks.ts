import type { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { ServerFacts } from '../observe/tunnel-metrics.ts';
import { type MarkChange, ServerChoice, type ServerMark } from './server-choice.ts';
import { systemTimers, type Timer, type Timers } from './timers.ts';
import { type Connect, type Preference, Uplink, type UplinkHandler } from './uplink.ts';
import { WatchedSet } from './watched-set.ts';

/** How to reach one server. */
export interface Way {
  /** `host:port`, for people. */
  readonly server: string;
  readonly connect: Connect;
  readonly handler: UplinkHandler;
}

export interface UplinksHandler {
  /** New connections go to this server from now on. */
  onServer(server: string, facts: ServerFacts): void;
  onMark(server: string, mark: ServerMark, holds: boolean): void;
}

/**
 * The client's way out: the link that a new connection should take now. With several servers it has an uplink to each, and `ServerChoice` says which is to be
 * used; what is open stays where it is.
 */
export class Uplinks {
  /** All links that are not closed, those included that only carry their last streams. */
  readonly open = new WatchedSet<Link>();
  readonly #timers: Timers;
  readonly #waiting = new Set<(link: Link) => void>();
  #ways: readonly Way[] = [];
  #uplinks: readonly Uplink[] = [];
  /** Null where there is nothing to choose. */
  #choice: ServerChoice | null = null;
  #handler: UplinksHandler | null = null;
  #lookTimer: Timer | null = null;

  constructor(timers: Timers = systemTimers) {
    this.#timers = timers;
  }

  /**
   * Makes links in these ways from now on, one for each server. Those made in other ways carry their streams to their ends; who waits for a link waits on. `preference`
   * is as for `Uplink.use`.
   */
  use(ways: readonly Way[], handler: UplinksHandler, preference: Preference = 'quic'): void {
    this.stop();
    this.#ways = ways;
    this.#handler = handler;
    this.#choice = ways.length > 1 ? new ServerChoice(ways.length) : null;
    this.#uplinks = ways.map(() => new Uplink(this.open, this.#timers));
    this.#uplinks.forEach((uplink, index) =>
      uplink.use(ways[index]!.connect, this.#uplinkHandler(ways[index]!.handler), preference),
    );
    if (this.#choice !== null) this.#look();
  }

  /** The links that are there, the preferred one first. */
  get links(): Link[] {
    const order = this.#choice?.order ?? [...this.#uplinks.keys()];
    return order.flatMap((index) => this.#uplinks[index]!.links);
  }

  /** What is known of each server; empty where there is nothing to choose. */
  get servers(): ServerFacts[] {
    return this.#choice === null ? [] : this.#ways.map((_way, index) => this.#facts(index));
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
    this.#lookTimer?.cancel();
    this.#choice = null;
    for (const uplink of this.#uplinks) uplink.stop(reason);
    // Also those that nobody keeps any more.
    if (reason !== undefined) for (const link of this.open.list()) link.close(reason);
  }

  #uplinkHandler(handler: UplinkHandler): UplinkHandler {
    return {
      ...handler,
      onUp: (link) => {
        handler.onUp(link);
        for (const take of this.#takeWaiting()) take(link);
      },
    };
  }

  readonly #look = (): void => {
    const choice = this.#choice;
    if (choice === null) return;
    this.#lookTimer = this.#timers.setTimer(this.#look, LOOK_INTERVAL);
    const before = choice.preferred;
    const looks = this.#uplinks.map((uplink) => ({ isUp: uplink.current()?.state === 'up', rtt: rttOf(uplink) }));
    this.#tellMarks(choice.handleLook(looks, this.#timers.now()));
    if (choice.preferred !== before) this.#handler?.onServer(this.#ways[choice.preferred]!.server, this.#facts(choice.preferred));
  };

  #tellMarks(changes: readonly MarkChange[]): void {
    for (const { server, mark, holds } of changes) this.#handler?.onMark(this.#ways[server]!.server, mark, holds);
  }

  #facts(index: number): ServerFacts {
    const uplink = this.#uplinks[index]!;
    return {
      server: this.#ways[index]!.server,
      isUp: uplink.current()?.state === 'up',
      isPreferred: this.#choice?.preferred === index,
      rtt: rttOf(uplink),
      marks: MARKS.filter((mark) => this.#choice?.hasMark(index, mark) === true),
    };
  }

  #takeWaiting(): ((link: Link) => void)[] {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    return waiting;
  }
}

function rttOf(uplink: Uplink): number {
  return uplink.current()?.stats().rtt ?? Number.NaN;
}

const MARKS: readonly ServerMark[] = ['NODE_UNSTABLE', 'NODE_HIGH_LATENCY'];
/** Milliseconds. */
const LOOK_INTERVAL = 250;
