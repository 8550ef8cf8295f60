import { test } from 'tap';
import { MODES } from '../support/qtunnel.ts';
import type { Toxic } from '../support/toxic-proxy.ts';
import { legsOf, ToxicTunnel } from '../support/toxic-tunnel.ts';

const ENDURED: readonly Toxic[] = [
  { type: 'latency', milliseconds: 20, jitter: 10 },
  { type: 'bandwidth', bytesPerSecond: 2_000_000 },
  { type: 'slow close', milliseconds: 50 },
  { type: 'slicer', bytes: 500 },
];
const SURVIVED: readonly Toxic[] = [
  { type: 'down' },
  { type: 'timeout', milliseconds: 200 },
  { type: 'reset peer', milliseconds: 0 },
  { type: 'limit data', bytes: 200_000 },
];

for (const mode of MODES)
  test(`${mode}: toxics that slow down change no byte, those that cut leave nothing behind`, async (t) => {
    const tunnel = await ToxicTunnel.start(t, mode);
    for (const leg of legsOf(mode)) {
      for (const toxic of ENDURED)
        t.match(await tunnel.endures(leg, toxic, { connections: 6, bytes: 50_000 }), { whole: 6, cut: 0 }, `${leg}: ${toxic.type}`);
      for (const toxic of SURVIVED)
        t.ok((await tunnel.survives(leg, toxic, { connections: 6, bytes: 3_000_000 })).cut > 0, `${leg}: ${toxic.type}`);
    }
    await tunnel.forgets();
  });
