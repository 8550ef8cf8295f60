import { fuzzApi } from '../hub/api/fuzz.ts';
import { callApi } from '../hub/support/api.ts';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import type { Owner } from '../support/process.ts';
import { type Qtunnel, startQtunnel } from '../support/qtunnel.ts';
import { integerBetween, seededRandom } from '../support/random.ts';
import { dial, freePort } from '../support/tcp.ts';
import { demand, type Experiment } from './experiment.ts';

/** The hub's API: ten thousand requests made from its own description, and a hub that is killed while it is told to publish. */
export function api(): Experiment {
  return {
    name: 'api',
    title: "10,000 requests made from the OpenAPI document of the hub's API; kill -9 while mappings are made",
    absence: () => false,
    run: async (trial) => {
      const seed = Number(process.env['SEED'] ?? 1);
      await trial.part(`10,000 requests to the hub's API, good and bad, seed ${seed}`, async (owner) => {
        const statuses = await fuzzApi(owner, 10_000, seed);
        const counts = [...statuses].toSorted(([a], [b]) => a - b).map(([status, count]) => `${count} × ${status}`);
        return `${counts.join(', ')}; none 5xx, each as the document says`;
      });
      await trial.part('a hub killed with -9 ten times while 20 clients make and remove mappings', async (owner, say) => {
        const { promised, rounds, open } = await killWhileChanging(owner, seed, say);
        return `${promised} changes were promised in ${rounds} lives, and were there in the next; ${open} mappings in the end, each of them open`;
      });
    },
  };
}

async function killWhileChanging(owner: Owner, seed: number, say: (line: string) => void) {
  const random = seededRandom(seed);
  const [port, stateDir] = [await freePort(), temporaryFolder(owner)];
  /** What the hub has promised of each port: true for mapped, false for not; null while it has not answered. */
  const state = new Map<number, boolean | null>();
  let promised = 0;
  const change = async (): Promise<void> => {
    const mapped = integerBetween(random, FIRST, LAST);
    const before = state.get(mapped) ?? false;
    if (state.get(mapped) === null) return;
    state.set(mapped, null);
    const { status } = before
      ? await callApi(port, 'DELETE', `/api/v1/mappings/tcp/${mapped}`)
      : await callApi(port, 'POST', '/api/v1/mappings', { port: mapped, target: '127.0.0.1:9' });
    demand(status < 300, `port ${mapped}: status ${status}`);
    state.set(mapped, !before);
    promised++;
  };
  let hub = await startHub(owner, port, stateDir);
  for (let round = 0; round < ROUNDS; round++) {
    const wanted = promised + integerBetween(random, 20, 120);
    const isGone = { now: false };
    const clients = Array.from({ length: CLIENTS }, async () => {
      while (!isGone.now) await change().catch((error: Error) => demand(isGone.now, error.message));
    });
    await eventually('changes', () => promised >= wanted);
    isGone.now = true;
    await hub.kill('SIGKILL');
    await Promise.all(clients);
    hub = await startHub(owner, port, stateDir);
    const { mappings } = (await callApi(port, 'GET', '/api/v1/mappings')).body as { mappings: { port: number; ready: boolean }[] };
    const there = new Map(mappings.map((mapping) => [mapping.port, mapping.ready]));
    for (const [mapped, expected] of state) {
      demand(
        expected === null || there.has(mapped) === expected,
        `port ${mapped}: promised ${expected}, found ${there.has(mapped)}`,
      );
      state.set(mapped, there.has(mapped));
    }
    for (const [mapped, ready] of there) {
      demand(ready, `port ${mapped} is in the database and not open`);
      (await dial(owner, mapped)).destroy();
    }
    say(`life ${round + 2}: ${there.size} mappings, ${promised} changes promised so far`);
  }
  return { promised, rounds: ROUNDS, open: [...state.values()].filter(Boolean).length };
}

async function startHub(owner: Owner, port: number, stateDir: string): Promise<Qtunnel> {
  const flags = [`-api=127.0.0.1:${port}`, `-ports=127.0.0.1:${FIRST}-${LAST}`, '-api-rate=1000000', '-tunnel=false'];
  const hub = startQtunnel(owner, ['hub', ...flags, `-state-dir=${stateDir}`]);
  await hub.event('api');
  return hub;
}

const ROUNDS = 10;
const CLIENTS = 20;
/** Above the ports that `freePort` gives, below those of outgoing connections. */
const FIRST = 30_100;
const LAST = 30_299;
