import { test } from 'tap';
import type { Link, LinkState, LinkStats } from '../../src/link/link.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { parseExposition, valueOf } from './exposition.ts';

test('every family of a tunnel appears under its tag, in text that parses', async (t) => {
  const metrics = new Metrics();
  const tunnel = metrics.tunnel('web "1"\\', {
    clientmode: true,
    links: () => [linkWith({ rtt: 12.5, congestionWindow: 14_000 })],
    handshakes: () => ({ quic: 7, tls: 2 }),
  });
  tunnel.streamOpened();
  tunnel.streamOpened();
  tunnel.streamClosed();
  tunnel.bytes('sent', 100);
  tunnel.bytes('sent', 23);
  tunnel.bytes('received', 5);
  tunnel.dialFailed('DIAL_REFUSED');
  tunnel.dialFailed('DIAL_REFUSED');
  tunnel.handshakeFailed('AUTH_REJECTED');
  tunnel.strangerRefused('quic', 'secret');
  tunnel.connectionShed('descriptors');
  for (const taken of [true, true, false]) tunnel.earlyDataSent(taken);
  tunnel.reconnected();
  for (let n = 0; n < 3; n++) tunnel.linkMoved();

  const samples = parseExposition(await metrics.text());
  const value = (name: string, labels = {}) => valueOf(samples, `qtunnel_${name}`, { tunnel: 'web "1"\\', ...labels });
  t.equal(value('link_up', { transport: 'quic' }), 1);
  t.equal(value('link_up', { transport: 'tls' }), 0);
  t.equal(value('links', { transport: 'quic' }), 1);
  t.equal(value('link_rtt_seconds', { transport: 'quic' }), 0.0125);
  t.equal(value('link_congestion_window_bytes', { transport: 'quic' }), 14_000);
  t.equal(value('link_packets_sent_total', { transport: 'quic' }), 10);
  t.equal(value('link_packets_lost_total', { transport: 'quic' }), 2);
  t.equal(value('link_parity_sent_total', { transport: 'quic' }), 4);
  t.equal(value('link_shards_restored_total', { transport: 'quic' }), 3);
  t.equal(value('link_datagrams_dropped_total', { transport: 'quic' }), 5);
  t.equal(value('link_bytes_sent_total', { transport: 'quic' }), 1000);
  t.equal(value('link_bytes_received_total', { transport: 'quic' }), 500);
  t.equal(value('payload_bytes_total', { direction: 'sent' }), 123);
  t.equal(value('payload_bytes_total', { direction: 'received' }), 5);
  t.equal(value('streams_open'), 1);
  t.equal(value('streams_total'), 2);
  t.equal(value('dial_failures_total', { reason: 'DIAL_REFUSED' }), 2);
  t.equal(value('handshake_failures_total', { reason: 'AUTH_REJECTED' }), 1);
  t.equal(value('strangers_refused_total', { transport: 'quic', reason: 'secret' }), 1);
  t.equal(value('handshakes_open', { transport: 'quic' }), 7);
  t.equal(value('handshakes_open', { transport: 'tls' }), 2);
  t.equal(value('shed_total', { resource: 'descriptors' }), 1);
  t.equal(value('early_data_total', { outcome: 'taken' }), 2);
  t.equal(value('early_data_total', { outcome: 'refused' }), 1);
  t.equal(value('reconnects_total'), 1);
  t.equal(value('moves_total'), 3);
});

test('reading twice counts nothing twice', async (t) => {
  const metrics = new Metrics();
  const tunnel = metrics.tunnel('a', { clientmode: false, links: () => [linkWith({})] });
  tunnel.streamOpened();
  t.equal(await metrics.text(), await metrics.text());
  tunnel.streamOpened();
  t.equal(valueOf(parseExposition(await metrics.text()), 'qtunnel_streams_total'), 2);
});

test('what a transport does not tell is left out, not shown as NaN', async (t) => {
  const metrics = new Metrics();
  const unknown = { rtt: Number.NaN, congestionWindow: Number.NaN, packetsSent: Number.NaN };
  metrics.tunnel('a', { clientmode: true, links: () => [linkWith(unknown, { transport: 'tls' })] });
  const samples = parseExposition(await metrics.text());
  t.equal(valueOf(samples, 'qtunnel_link_rtt_seconds', { transport: 'tls' }), undefined);
  t.equal(valueOf(samples, 'qtunnel_link_congestion_window_bytes', { transport: 'tls' }), undefined);
  t.equal(valueOf(samples, 'qtunnel_link_packets_sent_total', { transport: 'tls' }), 0);
});

test('the totals of a link stay when it closes', async (t) => {
  const metrics = new Metrics();
  const first = linkWith({ packetsSent: 7 });
  let links: Link[] = [first];
  const tunnel = metrics.tunnel('a', { clientmode: true, links: () => links });
  const sent = async () => valueOf(parseExposition(await metrics.text()), 'qtunnel_link_packets_sent_total', { transport: 'quic' });
  t.equal(await sent(), 7);

  tunnel.linkClosed(first);
  links = [];
  t.equal(await sent(), 7);
  links = [linkWith({ packetsSent: 3 })];
  t.equal(await sent(), 10);
});

test('a tunnel started again under its tag goes on counting; a forgotten one is gone', async (t) => {
  const metrics = new Metrics();
  const source = { clientmode: true, links: () => [] };
  metrics.tunnel('a', source).streamOpened();
  metrics.tunnel('a', source).streamOpened();
  t.equal(valueOf(parseExposition(await metrics.text()), 'qtunnel_streams_total', { tunnel: 'a' }), 2);
  metrics.forget('a');
  t.equal(valueOf(parseExposition(await metrics.text()), 'qtunnel_streams_total', { tunnel: 'a' }), undefined);
});

test('two Metrics in one process do not see each other', async (t) => {
  const [one, other] = [new Metrics(), new Metrics()];
  one.tunnel('a', { clientmode: true, links: () => [] });
  t.match(await one.text(), 'tunnel="a"');
  t.notMatch(await other.text(), 'tunnel="a"');
});

test('a client tunnel is ready while one of its links is up', async (t) => {
  t.same(await ready(true, 'up'), [{ tag: 'a', clientmode: true, ready: true, transport: 'quic' }]);
  t.same(await ready(true, 'stalled', 'up'), [{ tag: 'a', clientmode: true, ready: true, transport: 'quic' }]);
  t.same(await ready(true), [{ tag: 'a', clientmode: true, ready: false, transport: null }]);
  t.same(await ready(true, 'stalled', 'draining'), [{ tag: 'a', clientmode: true, ready: false, transport: null }]);
  t.same(await ready(false), [{ tag: 'a', clientmode: false, ready: true, transport: null }]);
});

async function ready(clientmode: boolean, ...states: LinkState[]) {
  const metrics = new Metrics();
  metrics.tunnel('a', { clientmode, links: () => states.map((state) => linkWith({}, { state })) });
  return await metrics.readiness();
}

/** A link as far as metrics look at one: what it is, and its numbers. */
function linkWith(
  stats: Partial<LinkStats>,
  { transport = 'quic', state = 'up' }: Partial<Pick<Link, 'transport' | 'state'>> = {},
): Link {
  const numbers = {
    rtt: 1,
    congestionWindow: 1,
    packetsSent: 10,
    packetsLost: 2,
    paritySent: 4,
    shardsRestored: 3,
    datagramsDropped: 5,
    bytesSent: 1000,
    bytesReceived: 500,
    deliveryRate: 1,
  };
  return { transport, state, stats: () => ({ ...numbers, ...stats }) } as Link;
}
