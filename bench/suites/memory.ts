import { TUNNELS } from '../contenders/index.ts';
import type { End } from '../contender.ts';
import type { Column } from '../figures.ts';
import type { Running } from '../launch.ts';
import { Idlers, serveIdle } from '../loads/idle.ts';
import { cpuSeconds, residentBytes } from '../../test/support/processes.ts';
import { withScope } from '../../test/support/scope.ts';
import { loopbackSite, maxOpenFiles } from '../site.ts';
import type { Suite } from '../suite.ts';

/** What connections cost that are there and do nothing. */
export function memory(): Suite {
  return {
    name: 'memory',
    title: 'Idle connections',
    method: () =>
      `Connections that have carried one byte each way and stay open: what each adds to the RSS of an end, and the CPU time of both ends for opening it. Beyond ${WARM_UP} that were opened first. Most ends need two sockets for each; a process here may have ${maxOpenFiles()}.`,
    columns: COUNTS.flatMap((count) => [
      ...ENDS.map((end): Column => ({
        name: rssColumn(count, end),
        unit: 'KB',
        digits: 1,
        better: 'lower',
        checked: count >= SURE,
      })),
      { name: cpuColumn(count), unit: 'µs', digits: 0, better: 'lower', checked: count >= SURE },
    ]),
    charts: [
      ...ENDS.map((end) => ({
        name: `memory-${end}`,
        title: `RSS for each idle connection, ${end}`,
        axis: 'KB',
        columns: COUNTS.map((count) => rssColumn(count, end)),
        over: { axis: 'connections', at: COUNTS },
      })),
      {
        name: 'memory-cpu',
        title: 'CPU time to open a connection, both ends',
        axis: 'µs',
        columns: COUNTS.map(cpuColumn),
        over: { axis: 'connections', at: COUNTS },
      },
    ],
    references: ['stunnel', 'shadowsocks'],
    absence: () => null,
    run: (session) =>
      withScope(async (owner) => {
        const site = loopbackSite();
        const backendPort = await serveIdle(owner, site.server);
        await session.eachInTurn(TUNNELS, async (contender, round) => {
          const setup = { contender, site, backendPort, what: 'idle connections' };
          await session.measure({ suite: 'memory', round }, setup, async (running, record, within) => {
            const client = new Idlers(within, site.client, running);
            await client.hold(WARM_UP);
            const before = await look(running);
            for (const count of COUNTS) {
              await client.hold(WARM_UP + count);
              record(costs(count, before, await look(running)));
            }
          });
        });
      }),
  };
}

interface Look {
  readonly rss: Readonly<Record<End, number>>;
  readonly cpu: number;
}

/** After a while in which both ends may come to rest. */
async function look({ pids, allPids }: Running): Promise<Look> {
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  return { rss: { client: residentBytes(pids.client), server: residentBytes(pids.server) }, cpu: cpuSeconds(allPids) };
}

function costs(count: number, before: Look, after: Look): Record<string, number> {
  const rss = ENDS.map((end) => [rssColumn(count, end), (after.rss[end] - before.rss[end]) / count / 1e3]);
  return { ...Object.fromEntries(rss), [cpuColumn(count)]: ((after.cpu - before.cpu) / count) * 1e6 };
}

function rssColumn(count: number, end: End): string {
  return `${count.toLocaleString('en')}: ${end}`;
}

function cpuColumn(count: number): string {
  return `${count.toLocaleString('en')}: CPU`;
}

const COUNTS = [100, 1_000, 10_000];
const ENDS: readonly End[] = ['client', 'server'];
/** From how many on the cost of one is more than noise. */
const SURE = 1_000;
const WARM_UP = 20;
const REST_MS = 2_000;
