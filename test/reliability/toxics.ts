import { MODES } from '../support/qtunnel.ts';
import type { Toxic } from '../support/toxic-proxy.ts';
import { legsOf, ToxicTunnel } from '../support/toxic-tunnel.ts';
import type { Load } from '../support/toxic-tunnel.ts';
import type { Experiment } from './experiment.ts';

/** Bad ways for TCP, on each of a tunnel's legs. */
export function toxics(): Experiment {
  return {
    name: 'toxics',
    title: 'toxiproxy’s toxics on each TCP leg',
    absence: () => process.platform !== 'linux' && 'descriptors are read from /proc',
    async run(trial) {
      for (const mode of MODES)
        for (const leg of legsOf(mode)) {
          for (const toxic of ENDURED)
            await trial.part(`${mode}, ${leg}: ${describe(toxic)}`, async (owner) => {
              const { whole } = await (await ToxicTunnel.start(owner, mode)).endures(leg, toxic, ENDURED_LOAD);
              return `${whole} of ${ENDURED_LOAD.connections} connections whole`;
            });
          for (const toxic of SURVIVED)
            await trial.part(`${mode}, ${leg}: ${describe(toxic)} in the midst, ${TIMES} times`, async (owner) => {
              const tunnel = await ToxicTunnel.start(owner, mode);
              let cut = 0;
              let slowest = 0;
              for (let time = 0; time < TIMES; time++) {
                const outcome = await tunnel.survives(leg, toxic, SURVIVED_LOAD);
                cut += outcome.cut;
                slowest = Math.max(slowest, outcome.seconds);
              }
              await tunnel.forgets();
              return `${cut} of ${TIMES * SURVIVED_LOAD.connections} connections cut off, all over within ${slowest.toFixed(1)} s; new ones worked each time`;
            });
        }
    },
  };
}

function describe({ type, ...rest }: Toxic): string {
  const values = Object.entries(rest).map(([name, value]) => `${(value as number).toLocaleString('en')} ${UNITS[name] ?? name}`);
  return [type, ...values].join(' ');
}

const UNITS: Record<string, string> = { milliseconds: 'ms', jitter: 'ms ±', bytes: 'bytes', bytesPerSecond: 'bytes/s' };

const ENDURED: readonly Toxic[] = [
  { type: 'latency', milliseconds: 100, jitter: 50 },
  { type: 'bandwidth', bytesPerSecond: 1_000_000 },
  { type: 'slow close', milliseconds: 1000 },
  { type: 'slicer', bytes: 100 },
];
const SURVIVED: readonly Toxic[] = [
  { type: 'down' },
  { type: 'timeout', milliseconds: 2000 },
  { type: 'reset peer', milliseconds: 0 },
  { type: 'limit data', bytes: 1_000_000 },
];
const ENDURED_LOAD: Load = { connections: 30, bytes: 1_000_000 };
const SURVIVED_LOAD: Load = { connections: 30, bytes: 10_000_000 };
const TIMES = 5;
