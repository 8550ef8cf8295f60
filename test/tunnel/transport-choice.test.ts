import { test } from 'tap';
import { TransportChoice } from '../../src/tunnel/transport-choice.ts';
import { FakeLink } from './fake-link.ts';

interface Seen {
  readonly rtt?: number;
  readonly sent?: number;
  readonly lost?: number;
  readonly tls?: number;
}

/** What is preferred after each of these looks. */
function choices(looks: readonly Seen[], choice = new TransportChoice()): string[] {
  const unknown = new FakeLink().stats();
  return looks.map(({ rtt = 1, sent = 0, lost = 0, tls }) => {
    choice.handleLook(
      { ...unknown, rtt, packetsSent: sent, packetsLost: lost },
      tls === undefined ? null : { ...unknown, rtt: tls },
    );
    return choice.preferred;
  });
}

let sent = 0;
const times = <T>(count: number, each: T): T[] => Array<T>(count).fill(each);

test('near and clean: TLS; far: QUIC; in between as before', async (t) => {
  t.same(choices([{ rtt: 2 }]), ['tls']);
  t.same(choices([{ rtt: 2.1 }]), ['quic']);
  t.same(choices([{ rtt: Number.NaN }, { rtt: Number.NaN, tls: 1 }]), ['quic', 'tls'], 'nothing known is not near');
  const choice = new TransportChoice();
  choices([{ rtt: 1 }], choice);
  t.same(choices(times(60, { rtt: 3 }), choice).at(-1), 'tls');
  t.same(choices(times(60, { rtt: 5 }), choice).at(-1), 'quic');
  t.same(choices(times(60, { rtt: 3 }), choice).at(-1), 'quic');
});

test('it says when it has changed its mind, and not when it tries', async (t) => {
  const choice = new TransportChoice();
  const stats = new FakeLink().stats();
  const looks = Array.from({ length: 310 }, () => choice.handleLook({ ...stats, rtt: 1 }, null));
  t.same(looks.indexOf(true), 0);
  t.same(looks.lastIndexOf(true), 0);
});

test('a queue that builds up for some seconds is no distance', async (t) => {
  t.same(choices([{ rtt: 1 }, ...times(29, { rtt: 50 })]).at(-1), 'tls');
  t.same(choices([{ rtt: 1 }, ...times(30, { rtt: 50 })]).at(-1), 'quic');
});

test('a path that loses gets QUIC, and TLS again long after its last loss', async (t) => {
  const looks = [
    { sent: 0, lost: 0 },
    { sent: 10_000, lost: 5 },
    { sent: 20_000, lost: 105 },
    ...Array.from({ length: 60 }, (_, i) => ({ sent: 30_000 + 10_000 * i, lost: 105 })),
  ];
  const seen = choices(looks);
  t.same(seen.slice(0, 4), ['tls', 'tls', 'quic', 'quic']);
  t.equal(seen.at(-1), 'tls');
});

test('the round trip of a link that sends nothing is of another time', async (t) => {
  const choice = new TransportChoice();
  choices([{ rtt: 1, sent: 10 }], choice);
  t.same(choices(times(40, { rtt: 1, sent: 10, tls: 120 }), choice).at(-1), 'quic', 'TLS knows better');
  t.same(choices(times(40, { rtt: 5, sent: 10, tls: 1 }), choice).at(-1), 'tls');
});

test('TLS hides what is lost: every five minutes QUIC is tried for five seconds', async (t) => {
  const choice = new TransportChoice();
  const seen = choices(times(1_000, {}), choice);
  const tried = seen.flatMap((transport, i) => (transport === 'quic' ? [i] : []));
  t.same(tried, [300, 301, 302, 303, 304, 605, 606, 607, 608, 609, 910, 911, 912, 913, 914]);
  // It loses now, which nobody sees before the next trial.
  const looks = Array.from({ length: 400 }, (_, i) => {
    const carried = choices([{ sent: sent, lost: sent / 50 }], choice)[0] === 'quic';
    if (carried) sent += 5_000;
    return { i, carried };
  });
  const first = looks.find(({ carried }) => carried)!.i;
  t.ok(
    looks.slice(first).every(({ carried }) => carried),
    'from then on',
  );
});

test('few datagrams say little', async (t) => {
  t.same(choices([{}, { sent: 20, lost: 1 }]), ['tls', 'tls']);
});

test('another link counts from zero', async (t) => {
  t.same(
    choices([
      { sent: 1e6, lost: 0 },
      { sent: 10_000, lost: 100 },
    ]),
    ['tls', 'quic'],
  );
  t.same(
    choices([
      { sent: 1e6, lost: 10 },
      { sent: 10_000, lost: 1 },
    ]),
    ['tls', 'tls'],
  );
});
