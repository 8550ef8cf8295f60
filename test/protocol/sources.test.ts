import { test } from 'tap';
import { MOST_SOURCES, type SourceLimits, SourceRecords, sourceOf, Sources } from '../../src/protocol/sources.ts';

const LIMITS: SourceLimits = { maxHandshakes: 8, maxHandshakesPerSource: 3, attemptsPerSource: 2 };

test('an IPv4 address is a source, and so is a /64', async (t) => {
  for (const [host, source] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['unknown', 'unknown'],
  ] as const)
    t.equal(sourceOf(host), source, host);
});

test('handshakes at once are limited, for each source and in all', async (t) => {
  const sources = new Sources();
  for (const source of ['a', 'b', 'c'])
    for (let n = 0; n < 3 && sources.judge(source, LIMITS, 0) === null; n++) sources.begin(source);
  t.equal(sources.open, 8);
  t.equal(sources.judge('a', LIMITS, 0), 'source');
  t.equal(sources.judge('d', LIMITS, 0), 'total');
  sources.settle('a', 'unknown', LIMITS, 0);
  t.equal(sources.judge('a', LIMITS, 0), null);
  t.equal(sources.judge('d', LIMITS, 0), null);
});

test('penalties grow, end, and are bounded', async (t) => {
  const sources = new Sources();
  let now = 0;
  const waits: number[] = [];
  for (let n = 0; n < 12; n++) {
    attempt(sources, 'a', 'failed', now);
    const from = now;
    while (sources.judge('a', LIMITS, now) === 'penalty') now += 500;
    waits.push(now - from);
  }
  t.same(
    waits,
    [0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30].map((seconds) => seconds * 1000),
  );
  t.equal(sources.judge('b', LIMITS, 0), null, 'others do not wait');
});

test('a success wipes out what was before, and protects for ten minutes', async (t) => {
  const sources = new Sources();
  for (let n = 0; n < 5; n++) attempt(sources, 'a', 'failed', 0);
  attempt(sources, 'a', 'succeeded', 0);
  t.equal(sources.judge('a', LIMITS, 0), null);
  for (let n = 0; n < 50; n++) attempt(sources, 'a', 'failed', 599_999);
  t.equal(sources.judge('a', LIMITS, 599_999), null);
  for (let n = 0; n < 3; n++) attempt(sources, 'a', 'failed', 600_000);
  t.equal(sources.judge('a', LIMITS, 600_000), 'penalty');
});

test('failures are forgotten, and whoever cannot be known for sure is not punished', async (t) => {
  const sources = new Sources();
  for (const now of [0, 1, 600_002]) attempt(sources, 'a', 'failed', now);
  t.equal(sources.judge('a', LIMITS, 600_002), null);
  for (let n = 0; n < 100; n++) attempt(sources, 'b', 'unknown', 0);
  t.equal(sources.judge('b', LIMITS, 0), null);
});

test('what is remembered is bounded, whatever the outcomes', async (t) => {
  const records = new SourceRecords();
  const sources = new Sources(records);
  sources.begin('stays');
  for (let n = 0; n < 3 * MOST_SOURCES; n++) attempt(sources, `s${n}`, (['failed', 'succeeded', 'unknown'] as const)[n % 3]!, n);
  t.equal(records.size, MOST_SOURCES, 'it does remember');
  for (let n = 0; n < MOST_SOURCES; n++) attempt(sources, 'x', 'succeeded', 10_000_000);
  t.equal(records.size, 1);
  attempt(sources, 'y', 'unknown', 10_000_000);
  t.equal(records.size, 1, 'nothing of who cannot be known');
  t.equal(sources.open, 1);
});

test('transports share what is remembered of failures, and count their own places', async (t) => {
  const records = new SourceRecords();
  const [udp, tcp] = [new Sources(records), new Sources(records)];
  for (let n = 0; n < 3; n++) udp.begin('a');
  t.equal(udp.judge('a', LIMITS, 0), 'source');
  t.equal(tcp.judge('a', LIMITS, 0), null, 'somebody may have taken these places in its name');
  for (let n = 0; n < 3; n++) udp.settle('a', 'failed', LIMITS, 0);
  t.equal(udp.judge('a', LIMITS, 0), 'penalty');
  t.equal(tcp.judge('a', LIMITS, 0), 'penalty');
  attempt(tcp, 'a', 'succeeded', 1);
  t.equal(udp.judge('a', LIMITS, 1), null);
});

function attempt(sources: Sources, source: string, outcome: 'succeeded' | 'failed' | 'unknown', now: number): void {
  sources.begin(source);
  sources.settle(source, outcome, LIMITS, now);
}
