import { fuzzApi } from '../hub/api/fuzz.ts';
import type { Experiment } from './experiment.ts';

/** Ten thousand requests to the hub's API that are made from its own description. */
export function api(): Experiment {
  return {
    name: 'api',
    title: '10,000 requests made from the OpenAPI document of the hub',
    absence: () => false,
    run: async (trial) => {
      const seed = Number(process.env['SEED'] ?? 1);
      await trial.part(`10,000 requests to the hub's API, good and bad, seed ${seed}`, async (owner) => {
        const statuses = await fuzzApi(owner, 10_000, seed);
        const counts = [...statuses].toSorted(([a], [b]) => a - b).map(([status, count]) => `${count} × ${status}`);
        return `${counts.join(', ')}; none 5xx, each as the document says`;
      });
    },
  };
}
