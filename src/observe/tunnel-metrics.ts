import type { ErrorCode } from '../errors.ts';
import type { Refusal } from '../link/options.ts';
import type { Resource } from '../resources/room.ts';
import type { Link, LinkStats } from '../link/link.ts';

/** What is told of a link; in the main thread of several workers this is all that there is of theirs. */
export type LinkFacts = Pick<Link, 'transport' | 'state' | 'isBranch' | 'stats'>;

/** What a tunnel's numbers are read from when somebody asks for them. */
export interface TunnelSource {
  readonly clientmode: boolean;
  /** The links that are not closed, of both transports. */
  readonly links: () => readonly LinkFacts[];
  /** Handshakes that are open at a server. */
  readonly handshakes?: () => Handshakes;
  /** A client's servers, where it has several to choose from. */
  readonly servers?: () => readonly ServerFacts[];
}

export type Handshakes = Readonly<Record<Link['transport'], number>>;

/** What is known of one of several servers. */
export interface ServerFacts {
  /** `host:port`. */
  readonly server: string;
  readonly isUp: boolean;
  readonly isPreferred: boolean;
  /** Milliseconds; NaN while unknown. */
  readonly rtt: number;
  readonly marks: readonly string[];
}

/** The numbers of a tunnel at a moment, as one thread tells them to another. */
export interface TunnelSnapshot {
  readonly counts: Readonly<Record<Count, number>>;
  readonly dialFailures: ReadonlyMap<string, number>;
  readonly handshakeFailures: ReadonlyMap<string, number>;
  readonly clients: ReadonlyMap<string, ClientCounts>;
  /** By transport and refusal with a space between them. */
  readonly refusals: ReadonlyMap<string, number>;
  readonly shed: ReadonlyMap<string, number>;
  readonly limits: ReadonlyMap<string, number>;
  readonly earlyData: ReadonlyMap<string, number>;
  readonly closedLinks: LinkTotals;
  readonly links: readonly (Omit<LinkFacts, 'stats'> & { readonly stats: LinkStats })[];
  readonly servers: readonly ServerFacts[];
  readonly handshakes: Handshakes;
}

/** Of a server's named client: its connections, and their bytes into and out of the tunnel. */
export interface ClientCounts {
  opened: number;
  closed: number;
  sent: number;
  received: number;
}

/** A server tunnel is ready as long as it runs; a client tunnel while one of its links is up. */
export interface TunnelReadiness {
  readonly tag: string;
  readonly clientmode: boolean;
  readonly ready: boolean;
  /** What a new connection would travel on; null without a link that is up. */
  readonly transport: Link['transport'] | null;
}

/** Of what there may be so much: connections of all, connections and links of one client. */
export type Limit = 'connections' | 'client_connections' | 'client_links';

/** The numbers of one tunnel. Counting is adding to a number: it may be done for every read and write. */
export class TunnelMetrics {
  readonly tag: string;
  source: TunnelSource = { clientmode: false, links: () => [] };

  sent = 0;
  received = 0;
  opened = 0;
  closed = 0;
  reconnects = 0;
  moves = 0;
  readonly dialFailures = new Map<string, number>();
  readonly handshakeFailures = new Map<string, number>();
  /** By name; only of those that had a connection. */
  readonly clients = new Map<string, ClientCounts>();
  readonly refusals = new Map<string, number>();
  /** Connections that were refused for want of something, by what. */
  readonly shed = new Map<string, number>();
  /** What clients were refused because they had as much as they may, by `Limit`. */
  readonly limits = new Map<string, number>();
  /** Links that began with early data, by what became of that. */
  readonly earlyData = new Map<string, number>();
  #closedLinks: LinkTotals = { quic: noTotals(), tls: noTotals() };

  constructor(tag: string) {
    this.tag = tag;
  }

  streamOpened(): void {
    this.opened++;
  }

  streamClosed(): void {
    this.closed++;
  }

  /** `bytes` of a TCP connection went into the tunnel (`sent`) or came out of it (`received`). */
  bytes(direction: 'sent' | 'received', bytes: number): void {
    if (direction === 'sent') this.sent += bytes;
    else this.received += bytes;
  }

  /** To be counted on. */
  client(name: string): ClientCounts {
    const known = this.clients.get(name) ?? { opened: 0, closed: 0, sent: 0, received: 0 };
    this.clients.set(name, known);
    return known;
  }

  dialFailed(reason: ErrorCode): void {
    countReason(this.dialFailures, reason);
  }

  handshakeFailed(reason: ErrorCode): void {
    countReason(this.handshakeFailures, reason);
  }

  /** Something of a stranger's was not taken. */
  strangerRefused(transport: Link['transport'], refusal: Refusal): void {
    countReason(this.refusals, `${transport} ${refusal}`);
  }

  connectionShed(resource: Resource): void {
    countReason(this.shed, resource);
  }

  /** A client was refused something because it, or all together, have as much as they may. */
  limitReached(limit: Limit): void {
    countReason(this.limits, limit);
  }

  /** A link began with early data, which the server took, or had sent again. */
  earlyDataSent(taken: boolean): void {
    countReason(this.earlyData, taken ? 'taken' : 'refused');
  }

  reconnected(): void {
    this.reconnects++;
  }

  linkMoved(): void {
    this.moves++;
  }

  /** Keeps what a link has counted, so that the totals do not fall when `links` no longer has it. To be called once, at its end. */
  linkClosed(link: Link): void {
    const stats = link.stats();
    const totals = this.#closedLinks[link.transport];
    for (const counter of LINK_COUNTERS) totals[counter] += numberOr(stats[counter], 0);
  }

  snapshot(): TunnelSnapshot {
    const links = this.source.links().map((link) => {
      const { transport, state, isBranch = false } = link;
      return { transport, state, isBranch, stats: link.stats() };
    });
    return {
      counts: pick(this, COUNTS),
      ...pick(this, [...BY_REASON, 'clients', 'servers', 'handshakes']),
      closedLinks: this.#closedLinks,
      links,
    };
  }

  /** Shows the sum of what several workers have counted in the place of what was counted here. */
  show(workers: readonly TunnelSnapshot[]): void {
    for (const count of COUNTS) this[count] = sum(workers.map(({ counts }) => counts[count]));
    for (const kind of BY_REASON) {
      this[kind].clear();
      for (const worker of workers) for (const [reason, count] of worker[kind]) countReason(this[kind], reason, count);
    }
    this.clients.clear();
    for (const worker of workers)
      for (const [name, counts] of worker.clients) {
        const total = this.client(name);
        for (const count of CLIENT_COUNTS) total[count] += counts[count];
      }
    this.#closedLinks = { quic: noTotals(), tls: noTotals() };
    for (const { closedLinks } of workers)
      for (const transport of ['quic', 'tls'] as const)
        for (const counter of LINK_COUNTERS) this.#closedLinks[transport][counter] += closedLinks[transport][counter];
    const links = workers.flatMap((worker) => worker.links.map(({ stats, ...link }) => ({ ...link, stats: () => stats })));
    const open = (transport: Link['transport']) => sum(workers.map(({ handshakes }) => handshakes[transport]));
    this.source = {
      clientmode: this.source.clientmode,
      links: () => links,
      // Each worker has its own choice; the first one's is shown.
      servers: () => workers[0]?.servers ?? [],
      handshakes: () => ({ quic: open('quic'), tls: open('tls') }),
    };
  }

  get servers(): readonly ServerFacts[] {
    return this.source.servers?.() ?? [];
  }

  get handshakes(): Handshakes {
    return this.source.handshakes?.() ?? NO_HANDSHAKES;
  }

  links(transport: Link['transport']): LinkFacts[] {
    return this.source.links().filter((link) => link.transport === transport && link.state !== 'closed');
  }

  linksUp(transport: Link['transport']): number {
    return this.links(transport).filter((link) => link.state === 'up').length;
  }

  /** In milliseconds; NaN when none was measured. */
  largestRtt(transport: Link['transport']): number {
    const known = this.#known(transport, 'rtt');
    return known.length > 0 ? Math.max(...known) : Number.NaN;
  }

  /** In bytes; NaN when no link tells. */
  congestionWindow(transport: Link['transport']): number {
    const known = this.#known(transport, 'congestionWindow');
    return known.length > 0 ? sum(known) : Number.NaN;
  }

  /** What all links of this transport have counted since the tunnel began, those included that are gone. */
  linkTotal(transport: Link['transport'], counter: LinkCounter): number {
    return this.#closedLinks[transport][counter] + sum(this.#known(transport, counter));
  }

  readiness(): TunnelReadiness {
    const { clientmode } = this.source;
    const transport = this.source.links().find((link) => link.state === 'up')?.transport ?? null;
    return { tag: this.tag, clientmode, ready: !clientmode || transport !== null, transport };
  }

  #known(transport: Link['transport'], key: keyof LinkStats): number[] {
    return this.links(transport)
      .map((link) => link.stats()[key])
      .filter((value) => !Number.isNaN(value));
  }
}

type LinkCounter = (typeof LINK_COUNTERS)[number];
type LinkTotals = Record<Link['transport'], Record<LinkCounter, number>>;
type Count = (typeof COUNTS)[number];

function noTotals(): Record<LinkCounter, number> {
  return { packetsSent: 0, packetsLost: 0, paritySent: 0, shardsRestored: 0, datagramsDropped: 0, bytesSent: 0, bytesReceived: 0 };
}

function countReason(counts: Map<string, number>, reason: string, count = 1): void {
  counts.set(reason, (counts.get(reason) ?? 0) + count);
}

function pick<T, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.map((key) => [key, from[key]])) as Pick<T, K>;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function numberOr(value: number, otherwise: number): number {
  return Number.isNaN(value) ? otherwise : value;
}

const NO_HANDSHAKES: Handshakes = { quic: 0, tls: 0 };
const LINK_COUNTERS = [
  'packetsSent',
  'packetsLost',
  'paritySent',
  'shardsRestored',
  'datagramsDropped',
  'bytesSent',
  'bytesReceived',
] as const;
const CLIENT_COUNTS = ['opened', 'closed', 'sent', 'received'] as const;
const BY_REASON = ['dialFailures', 'handshakeFailures', 'refusals', 'shed', 'limits', 'earlyData'] as const;
const COUNTS = ['sent', 'received', 'opened', 'closed', 'reconnects', 'moves'] as const;
