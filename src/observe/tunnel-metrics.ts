import type { ErrorCode } from '../errors.ts';
import type { Link, LinkStats } from '../link/link.ts';

/** What a tunnel's numbers are read from when somebody asks for them. */
export interface TunnelSource {
  readonly clientmode: boolean;
  /** The links that are not closed, of both transports. */
  readonly links: () => readonly Link[];
}

/** A server tunnel is ready as long as it runs; a client tunnel while one of its links is up. */
export interface TunnelReadiness {
  readonly tag: string;
  readonly clientmode: boolean;
  readonly ready: boolean;
  /** What a new connection would travel on; null without a link that is up. */
  readonly transport: Link['transport'] | null;
}

/** The numbers of one tunnel. Counting is adding to a number: it may be done for every read and write. */
export class TunnelMetrics {
  readonly tag: string;
  source: TunnelSource = { clientmode: false, links: () => [] };

  sent = 0;
  received = 0;
  opened = 0;
  closed = 0;
  reconnects = 0;
  readonly dialFailures = new Map<string, number>();
  readonly handshakeFailures = new Map<string, number>();
  readonly #closedLinks: Record<Link['transport'], Record<LinkCounter, number>> = { quic: noTotals(), tls: noTotals() };

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

  dialFailed(reason: ErrorCode): void {
    countReason(this.dialFailures, reason);
  }

  handshakeFailed(reason: ErrorCode): void {
    countReason(this.handshakeFailures, reason);
  }

  reconnected(): void {
    this.reconnects++;
  }

  /** Keeps what a link has counted, so that the totals do not fall when `links` no longer has it. To be called once, at its end. */
  linkClosed(link: Link): void {
    const stats = link.stats();
    const totals = this.#closedLinks[link.transport];
    for (const counter of LINK_COUNTERS) totals[counter] += numberOr(stats[counter], 0);
  }

  links(transport: Link['transport']): Link[] {
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

function noTotals(): Record<LinkCounter, number> {
  return { packetsSent: 0, packetsLost: 0, bytesSent: 0, bytesReceived: 0 };
}

function countReason(counts: Map<string, number>, reason: string): void {
  counts.set(reason, (counts.get(reason) ?? 0) + 1);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function numberOr(value: number, otherwise: number): number {
  return Number.isNaN(value) ? otherwise : value;
}

const LINK_COUNTERS = ['packetsSent', 'packetsLost', 'bytesSent', 'bytesReceived'] as const;
