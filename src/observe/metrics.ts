import { Counter, Gauge, Registry } from 'prom-client';
import type { Link } from '../link/link.ts';
import { Counts } from './counts.ts';
import type { ClientCounts, TunnelMetrics } from './tunnel-metrics.ts';

/**
 * All metrics of a process, in a registry of their own: two `Metrics` in one process do not see each other. The registry reads the
 * counts only when somebody asks for `text()`.
 */
export class Metrics extends Counts {
  readonly registry = new Registry();

  constructor() {
    super();
    for (const family of FAMILIES) register(this.registry, family, this);
  }

  /** Everything in Prometheus' text format. */
  async text(): Promise<string> {
    await this.refresh();
    return await this.registry.metrics();
  }
}

type Sample = readonly [labels: Record<string, string>, value: number];

interface Family {
  readonly kind: typeof Counter | typeof Gauge;
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly samples: (tunnel: TunnelMetrics) => Iterable<Sample>;
}

function register(registry: Registry, { kind: Kind, name, help, labels, samples }: Family, counts: Counts) {
  return new Kind({
    name: `qtunnel_${name}`,
    help,
    labelNames: ['tunnel', ...labels],
    registers: [registry],
    collect() {
      this.reset();
      for (const tunnel of counts.tunnels)
        for (const [values, value] of samples(tunnel)) this.inc({ tunnel: tunnel.tag, ...values }, value);
    },
  });
}

function* perTransport(value: (transport: Link['transport']) => number): Iterable<Sample> {
  for (const transport of TRANSPORTS) {
    const number = value(transport);
    if (!Number.isNaN(number)) yield [{ transport }, number];
  }
}

function* perReason(counts: ReadonlyMap<string, number>): Iterable<Sample> {
  for (const [reason, count] of counts) yield [{ reason }, count];
}

function* perClient(clients: ReadonlyMap<string, ClientCounts>, value: (counts: ClientCounts) => number): Iterable<Sample> {
  for (const [client, counts] of clients) yield [{ client }, value(counts)];
}

const TRANSPORTS: readonly Link['transport'][] = ['quic', 'tls'];

const FAMILIES: readonly Family[] = [
  {
    kind: Gauge,
    name: 'link_up',
    help: 'Whether a link of this transport is up (1) or not (0).',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => (tunnel.linksUp(transport) > 0 ? 1 : 0)),
  },
  {
    kind: Gauge,
    name: 'links',
    help: 'Links of this transport that are not closed; on a server one for each client.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.links(transport).filter(({ isBranch }) => isBranch !== true).length),
  },
  {
    kind: Gauge,
    name: 'server_up',
    help: 'Whether a link to this server, of several, is up (1) or not (0).',
    labels: ['server'],
    samples: (tunnel) => tunnel.servers.map(({ server, isUp }) => [{ server }, isUp ? 1 : 0]),
  },
  {
    kind: Gauge,
    name: 'server_preferred',
    help: 'Whether new connections go to this server (1) or to another (0).',
    labels: ['server'],
    samples: (tunnel) => tunnel.servers.map(({ server, isPreferred }) => [{ server }, isPreferred ? 1 : 0]),
  },
  {
    kind: Gauge,
    name: 'server_rtt_seconds',
    help: 'Smoothed round-trip time to this server.',
    labels: ['server'],
    samples: (tunnel) => tunnel.servers.map(({ server, rtt }) => [{ server }, rtt / 1000]),
  },
  {
    kind: Gauge,
    name: 'server_mark',
    help: 'Whether this server has this mark: NODE_UNSTABLE, NODE_HIGH_LATENCY.',
    labels: ['server', 'mark'],
    samples: (tunnel) => tunnel.servers.flatMap(({ server, marks }) => marks.map((mark): Sample => [{ server, mark }, 1])),
  },
  {
    kind: Gauge,
    name: 'link_rtt_seconds',
    help: 'Smoothed round-trip time; with several links the largest.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.largestRtt(transport) / 1000),
  },
  {
    kind: Gauge,
    name: 'link_congestion_window_bytes',
    help: 'Congestion window; with several links their sum.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.congestionWindow(transport)),
  },
  {
    kind: Counter,
    name: 'link_packets_sent_total',
    help: 'Packets sent, where the transport counts them.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.linkTotal(transport, 'packetsSent')),
  },
  {
    kind: Counter,
    name: 'link_packets_lost_total',
    help: 'Packets declared lost, where the transport counts them.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.linkTotal(transport, 'packetsLost')),
  },
  {
    kind: Counter,
    name: 'link_parity_sent_total',
    help: 'Parity shards sent.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.linkTotal(transport, 'paritySent')),
  },
  {
    kind: Counter,
    name: 'link_shards_restored_total',
    help: 'Lost shards that parity brought back.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.linkTotal(transport, 'shardsRestored')),
  },
  {
    kind: Counter,
    name: 'link_datagrams_dropped_total',
    help: 'Datagrams of UDP mappings that this side dropped: for want of room, or of a part.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.linkTotal(transport, 'datagramsDropped')),
  },
  {
    kind: Counter,
    name: 'link_bytes_sent_total',
    help: 'Bytes sent on the wire, as far as the transport counts them.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.linkTotal(transport, 'bytesSent')),
  },
  {
    kind: Counter,
    name: 'link_bytes_received_total',
    help: 'Bytes received from the wire, as far as the transport counts them.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.linkTotal(transport, 'bytesReceived')),
  },
  {
    kind: Counter,
    name: 'payload_bytes_total',
    help: 'Bytes of TCP connections that this side sent into the tunnel or received out of it.',
    labels: ['direction'],
    samples: (tunnel) => [
      [{ direction: 'sent' }, tunnel.sent],
      [{ direction: 'received' }, tunnel.received],
    ],
  },
  {
    kind: Gauge,
    name: 'streams_open',
    help: 'TCP connections in the tunnel now.',
    labels: [],
    samples: (tunnel) => [[{}, tunnel.opened - tunnel.closed]],
  },
  {
    kind: Counter,
    name: 'streams_total',
    help: 'TCP connections that the tunnel has carried, those open now included.',
    labels: [],
    samples: (tunnel) => [[{}, tunnel.opened]],
  },
  {
    kind: Gauge,
    name: 'client_streams_open',
    help: 'TCP connections of a named client now.',
    labels: ['client'],
    samples: (tunnel) => perClient(tunnel.clients, ({ opened, closed }) => opened - closed),
  },
  {
    kind: Counter,
    name: 'client_streams_total',
    help: 'TCP connections of a named client, those open now included.',
    labels: ['client'],
    samples: (tunnel) => perClient(tunnel.clients, ({ opened }) => opened),
  },
  {
    kind: Counter,
    name: 'client_payload_bytes_total',
    help: "Bytes of a named client's TCP connections that the server sent into the tunnel or received out of it.",
    labels: ['client', 'direction'],
    samples: (tunnel) =>
      [...tunnel.clients].flatMap(([client, { sent, received }]): Sample[] => [
        [{ client, direction: 'sent' }, sent],
        [{ client, direction: 'received' }, received],
      ]),
  },
  {
    kind: Counter,
    name: 'dial_failures_total',
    help: 'Connections to the backend that failed.',
    labels: ['reason'],
    samples: (tunnel) => perReason(tunnel.dialFailures),
  },
  {
    kind: Counter,
    name: 'handshake_failures_total',
    help: 'Links that did not come up.',
    labels: ['reason'],
    samples: (tunnel) => perReason(tunnel.handshakeFailures),
  },
  {
    kind: Gauge,
    name: 'handshakes_open',
    help: 'Clients, or strangers, that a server hears and that have not proven themselves, now.',
    labels: ['transport'],
    samples: (tunnel) => perTransport((transport) => tunnel.handshakes[transport]),
  },
  {
    kind: Counter,
    name: 'strangers_refused_total',
    help: 'Packets and connections that a server did not take from who has not proven himself.',
    labels: ['transport', 'reason'],
    samples: (tunnel) =>
      [...tunnel.refusals].map(([name, count]): Sample => {
        const [transport = '', reason = ''] = name.split(' ');
        return [{ transport, reason }, count];
      }),
  },
  {
    kind: Counter,
    name: 'shed_total',
    help: 'New connections that were refused because the process has too little of something.',
    labels: ['resource'],
    samples: (tunnel) => [...tunnel.shed].map(([resource, count]): Sample => [{ resource }, count]),
  },
  {
    kind: Counter,
    name: 'limited_total',
    help: 'What clients were refused because they had as much as they may, by what they had it of.',
    labels: ['limit'],
    samples: (tunnel) => [...tunnel.limits].map(([limit, count]): Sample => [{ limit }, count]),
  },
  {
    kind: Counter,
    name: 'early_data_total',
    help: 'Links that began with early data (0-RTT), by whether their ticket opened; a server knows only of those that did.',
    labels: ['outcome'],
    samples: (tunnel) => [...tunnel.earlyData].map(([outcome, count]): Sample => [{ outcome }, count]),
  },
  {
    kind: Counter,
    name: 'reconnects_total',
    help: 'Links that came up in the place of one that was lost.',
    labels: [],
    samples: (tunnel) => [[{}, tunnel.reconnects]],
  },
  {
    kind: Counter,
    name: 'moves_total',
    help: 'Times that a link went on from another local address.',
    labels: [],
    samples: (tunnel) => [[{}, tunnel.moves]],
  },
];
