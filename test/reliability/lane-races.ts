import { race, TROUBLES } from '../tls/simulated/race.ts';
import type { Experiment } from './experiment.ts';

/** Both ends of a link in TLS mode in one process, whose connections are simulated, so that the order of all events follows from a seed. */
export function laneRaces(): Experiment {
  return {
    name: 'lane-races',
    title: 'what comes over several TLS connections of a link overtakes each other in all ways',
    absence: () => false,
    run: async (trial) => {
      for (const [what, trouble] of TROUBLES) {
        await trial.part(`streams of all shapes and ${what}`, async (_, say) => {
          let [streams, attached, resets] = [0, 0, 0];
          for (let seed = 1; seed <= SEEDS; seed++) {
            const outcome = raceOf(seed, trouble);
            streams += outcome.streams;
            attached += outcome.attached;
            resets += outcome.resets;
            if (seed % 1000 === 0) {
              say(`${seed} of ${SEEDS}`);
              await new Promise((resolve) => setImmediate(resolve));
            }
          }
          return `${SEEDS} links, ${streams} streams, ${resets} of them reset by an end, ${attached} connections given to one: all was whole or reset, and nothing was left`;
        });
      }
    },
  };
}

function raceOf(...[seed, trouble]: Parameters<typeof race>): ReturnType<typeof race> {
  try {
    return race(seed, trouble);
  } catch (error) {
    throw new Error(`Seed ${seed}: ${(error as Error).message}`, { cause: error });
  }
}

const SEEDS = 5_000;
