import { test } from 'tap';
import { QuichePair } from './quiche-pair.ts';

/** More than one packet without blocks. */
const BYTES = 2_000;
const MANY = 5_000;
/** Milliseconds; it is less than one. */
const MOST_RTT = 100;

// Where this fails the round-trip time that quiche measures grows as fast as time passes, for ever.
for (const [congestion, blocks] of [
  ['bbr', 'auto'],
  ['bbr', 'off'],
  ['cubic', 'off'],
  ['reno', 'off'],
] as const)
  void test(`after many losses quiche goes on measuring the round trip (${congestion}, blocks ${blocks})`, (t) => {
    const pair = new QuichePair({ congestion, blocks, idleTimeout: 30_000 });
    while (!pair.client.isEstablished()) pair.exchange(0);
    while (pair.dropped < 60) {
      const { dropped } = pair;
      pair.exchange(BYTES, 1);
      // The window may be full until quiche has found out about the loss before.
      while (pair.dropped === dropped) pair.exchange(0, 1);
      for (let n = 0; n < 10; n++) pair.exchange(BYTES);
    }
    for (let n = 0; n < MANY; n++) pair.exchange(BYTES);
    for (let n = 0; n < MANY && pair.path.rtt > MOST_RTT; n++) pair.exchange(BYTES);
    t.ok(pair.path.rtt <= MOST_RTT, `a round trip of ${pair.path.rtt} ms`);
    if (blocks === 'auto') t.ok(pair.path.cwnd >= 16_000_000, `a window of ${pair.path.cwnd} bytes`);
    t.end();
  });
