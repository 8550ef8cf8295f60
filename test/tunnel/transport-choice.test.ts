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
    const before = choice.preferred;
    const changed = choice.handleLook(
      { ...unknown, rtt, packetsSent: sent, packetsLost: lost },
      tls === undefined ? null : { ...unknown, rtt: tls },
    );
    if (changed !== (choice.preferred !== before)) throw new Error('It said otherwise.');
    return choice.preferred;
  });
}

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
