import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import type { Owner } from '../support/process.ts';
import { MODES, startClient, startServer } from '../support/qtunnel.ts';
import type { Mode } from '../support/qtunnel.ts';
import { withScope } from '../support/scope.ts';
import { SteadyLoad } from '../support/steady-load.ts';
import type { Task } from '../support/steady-load.ts';
import { freePort } from '../support/tcp.ts';
import { work, workService } from '../support/work.ts';
import { demand } from './experiment.ts';
import type { Experiment } from './experiment.ts';

/** What becomes of applications when a server or a backend dies under them, again and again. */
export function crashes(): Experiment {
  return {
    name: 'crashes',
    title: `server killed with -9 ${KILLS} times under load, backend flapping, and both`,
    absence: () => false,
    async run(trial) {
      for (const mode of MODES) {
        await trial.part(`${mode}: server killed with -9 ${KILLS} times under load`, (owner) =>
          hurt(owner, mode, { kills: KILLS, flaps: 0 }),
        );
        await trial.part(`${mode}: backend down and up ${FLAPS} times under load`, (owner) =>
          hurt(owner, mode, { kills: 0, flaps: FLAPS }),
        );
        await trial.part(`${mode}: both`, (owner) => hurt(owner, mode, { kills: KILLS, flaps: FLAPS }));
      }
    },
  };
}

export interface Faults {
  /** How often the server is killed under load and started again. */
  readonly kills: number;
  /** How often the backend goes down and comes back; 0 for one that is there all the time. */
  readonly flaps: number;
  /** How long the link may take to be up after a killed server listens again. */
  readonly reconnectMs?: number;
}

/** Does both at once to a tunnel under load; returns what came of it, and throws when something was not as it has to be. */
export async function hurt(owner: Owner, mode: Mode, { kills, flaps, reconnectMs = RECONNECT_LIMIT_MS }: Faults): Promise<string> {
  const backend = await freePort();
  const common = { mode, stateDir: temporaryFolder(owner), flags: ['-log-level=info'] } as const;
  const server = { ...common, backend, listen: `127.0.0.1:${await freePort()}` };
  let running = await startServer(owner, server);
  const client = await startClient(owner, { ...common, server: running.port });
  if (flaps === 0) await workService(owner, backend);
  const load = new SteadyLoad(client.port, APPLICATIONS, TASKS);

  const reconnects: number[] = [];
  const kill = async () => {
    for (let time = 0; time < kills; time++) {
      await sleep(UNDER_LOAD_MS);
      const seen = client.process.log.length;
      await running.process.kill('SIGKILL');
      running = await startServer(owner, server);
      const back = performance.now();
      await client.process.event('link_up', { transport: mode }, { skip: seen });
      reconnects.push(performance.now() - back);
    }
  };
  await Promise.all([kill(), flap(backend, flaps)]);
  if (flaps > 0) await workService(owner, backend);
  await eventually('a connection that works', () => succeeds(client.port));
  await load.stop();
  demand(load.whole > 0 && load.cut > 0, `${load.whole} connections were carried, and ${load.cut} met a fault`);
  demand(load.wrongs.length === 0, `${load.wrongs.length} connections hung or carried other bytes: ${load.wrongs[0]?.message}`);
  for (let time = 0; time < AFTERWARDS; time++) await work(client.port, 'echo', 10_000);

  const slowest = Math.max(0, ...reconnects);
  demand(slowest < reconnectMs, `the link was back after ${slowest.toFixed(0)} ms`);
  const back = kills > 0 ? `; link up at most ${slowest.toFixed(0)} ms after the server listened` : '';
  return `${load.whole.toLocaleString('en')} connections whole, ${load.cut.toLocaleString('en')} cut off, none hung; ${AFTERWARDS} of ${AFTERWARDS} afterwards${back}`;
}

async function flap(port: number, times: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    await withScope(async (owner) => {
      await workService(owner, port);
      await sleep(BACKEND_UP_MS);
    });
    await sleep(BACKEND_DOWN_MS);
  }
}

function succeeds(port: number): Promise<boolean> {
  return work(port, 'echo', 10).then(
    () => true,
    () => false,
  );
}

const KILLS = 5;
const FLAPS = 30;
const APPLICATIONS = 20;
const TASKS: readonly Task[] = [
  { kind: 'upload', bytes: 1_000_000 },
  { kind: 'download', bytes: 1_000_000 },
  { kind: 'echo', bytes: 100 },
  { kind: 'echo', bytes: 100_000 },
];
const UNDER_LOAD_MS = 2000;
const BACKEND_UP_MS = 300;
const BACKEND_DOWN_MS = 200;
const AFTERWARDS = 100;
/** The 95th percentile of so few is their largest. */
const RECONNECT_LIMIT_MS = 2000;
