import { test } from 'tap';
import { Pacer } from '../../../src/protocol/delivery/pacer.ts';
import { seededRandom } from '../../support/random.ts';

const DATAGRAM = 1_350;

/** Sends whatever may go for so many milliseconds, when `deadline` says; the most bytes within one moment. */
function sendAll(
  pacer: Pacer,
  from: number,
  milliseconds: number,
  rate: number,
  late = 0,
): { bytes: number; burst: number; turns: number } {
  let bytes = 0;
  let largest = 0;
  let turns = 0;
  for (let now = from; now < from + milliseconds; turns++) {
    pacer.handleTime(now, rate);
    let burst = 0;
    while (pacer.mayGo()) {
      pacer.handleSent(DATAGRAM);
      burst += DATAGRAM;
    }
    bytes += burst;
    largest = Math.max(largest, burst);
    const next = pacer.deadline();
    if (!(next > now)) throw new Error(`at ${now} it wants a turn at ${next}`);
    now = next + late;
  }
  return { bytes, burst: largest, turns };
}

test('bytes go as fast as the rate says, in small bursts', async (t) => {
  for (const rate of [0.5, 10, 1_000, 12_500]) {
    const pacer = new Pacer(0);
    sendAll(pacer, 0, 1e5 / rate, rate);
    const start = 1e5 / rate + 50;
    const duration = Math.max(1_000, 1e6 / rate);
    const { bytes, burst } = sendAll(pacer, start, duration, rate);
    t.ok(Math.abs(bytes / duration / rate - 1) < 0.02, `${bytes / duration} at ${rate} bytes a millisecond`);
    t.ok(burst <= 3 * rate + 4_096 + DATAGRAM, `a burst of ${burst}`);
  }
});

test('timers that are two milliseconds late cost nothing', async (t) => {
  const rate = 12_500;
  const pacer = new Pacer(0);
  sendAll(pacer, 0, 100, rate);
  const { bytes } = sendAll(pacer, 200, 1_000, rate, 2);
  t.ok(bytes / 1_000 / rate > 0.98, `${bytes / 1_000}`);
});

test('turns are no more than needed', async (t) => {
  const pacer = new Pacer(0);
  const { turns } = sendAll(pacer, 0, 1_000, 100_000);
  t.ok(turns <= 2_000, `${turns}`);
});

test('a pause saves up no more than a few milliseconds', async (t) => {
  const rate = 1_000;
  const pacer = new Pacer(0);
  sendAll(pacer, 0, 100, rate);
  const { burst } = sendAll(pacer, 1e6, 1, rate);
  t.ok(burst <= 3 * rate + 4_096 + DATAGRAM, `${burst}`);
});

test('without a rate everything goes; with one again, not what was saved up meanwhile', async (t) => {
  const pacer = new Pacer(0);
  pacer.handleTime(1, Infinity);
  for (let i = 0; i < 1_000; i++) pacer.handleSent(1e6);
  t.ok(pacer.mayGo());
  t.equal(pacer.deadline(), Infinity);
  pacer.handleTime(2, 100);
  t.ok(pacer.mayGo());
  pacer.handleSent(1e4);
  t.notOk(pacer.mayGo());
  t.ok(pacer.deadline() > 2 && pacer.deadline() < 150);
});

test('a clock that goes back, or stands still, does no harm', async (t) => {
  const random = seededRandom(3);
  const pacer = new Pacer(1_000);
  for (let i = 0; i < 10_000; i++) {
    pacer.handleTime(1_000 + random() * 10 - 5, 100);
    if (pacer.mayGo()) pacer.handleSent(DATAGRAM);
    if (Number.isNaN(pacer.deadline())) t.fail('no deadline');
  }
  pacer.handleTime(3_000, 100);
  t.ok(pacer.mayGo());
});
