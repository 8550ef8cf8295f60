import { DIRECT, TUNNELS } from '../contenders/index.ts';
import type { Column } from '../figures.ts';
import { wrk } from '../loads/http.ts';
import { MEGABYTE, startNginx } from '../loads/nginx.ts';
import { peakResidentBytes } from '../../test/support/processes.ts';
import { withScope } from '../../test/support/scope.ts';
import { loopbackSite } from '../site.ts';
import type { Suite } from '../suite.ts';
import { absenceOfTools } from '../tools.ts';

/** Throughput and memory from one busy connection to a thousand. */
export function growth(): Suite {
  return {
    name: 'growth',
    title: 'Busy connections',
    method: ({ seconds }) =>
      `Loopback; wrk fetches 10⁶ bytes from nginx again and again on so many connections, ${seconds} s. RSS is the most during the load, of each end.`,
    columns: [
      ...COUNTS.map((count): Column => ({ name: speedColumn(count), unit: 'MB/s', digits: 0, better: 'higher', checked: true })),
      ...RSS_AT.flatMap((count) =>
        ENDS.map((end): Column => ({ name: rssColumn(count, end), unit: 'MB', digits: 0, better: 'lower', checked: true })),
      ),
    ],
    charts: [
      {
        name: 'growth',
        title: 'Throughput over busy connections',
        axis: 'MB/s',
        columns: COUNTS.map(speedColumn),
        over: { axis: 'connections', at: COUNTS },
      },
    ],
    references: ['stunnel', DIRECT.name],
    absence: () => absenceOfTools('nginx', 'wrk'),
    run: (session) =>
      withScope(async (owner) => {
        const site = loopbackSite();
        const backendPort = await startNginx(owner, site.server);
        await session.eachInTurn([DIRECT, ...TUNNELS], async (contender, round) => {
          for (const count of COUNTS) {
            const setup = { contender, site, backendPort, what: `${count} connections` };
            await session.measure({ suite: 'growth', round }, setup, async (running, record) => {
              const load = wrk(site.client, running, MEGABYTE, count, session.seconds);
              const [client, server] = await Promise.all(ENDS.map((end) => peakResidentBytes(running.pids[end], load)));
              record({
                [speedColumn(count)]: client!.result.bytesPerSecond / 1e6,
                ...(running.allPids.length > 0 &&
                  RSS_AT.includes(count) && {
                    [rssColumn(count, 'client')]: client!.bytes / 1e6,
                    [rssColumn(count, 'server')]: server!.bytes / 1e6,
                  }),
              });
            });
          }
        });
      }),
  };
}

function speedColumn(count: number): string {
  return count.toLocaleString('en');
}

function rssColumn(count: number, end: string): string {
  return `${count.toLocaleString('en')}: ${end}`;
}

const COUNTS = [1, 10, 100, 1_000];
const RSS_AT = [1_000];
const ENDS = ['client', 'server'] as const;
