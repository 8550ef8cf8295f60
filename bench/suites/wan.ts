import { DIRECT_ON_WAN, TUNNELS } from '../contenders/index.ts';
import type { Column } from '../figures.ts';
import { IperfServer } from '../loads/iperf.ts';
import type { Load } from '../loads/iperf.ts';
import { PATHS } from '../paths.ts';
import type { NamedPath } from '../paths.ts';
import { withScope } from '../../test/support/scope.ts';
import type { Session } from '../session.ts';
import { wanAbsence, wanSite } from '../site.ts';
import type { Suite } from '../suite.ts';
import { absenceOfTools } from '../tools.ts';

/** Throughput over paths that are long, narrow or lossy. */
export function wan(): Suite {
  return {
    name: 'wan',
    title: 'Emulated WAN: throughput',
    method: ({ seconds }) =>
      `iperf3, ${seconds} s each, 1 connection up and 4 down. The path's name has its round trip, rate, and loss; it carries at most so many MB/s, headers and all. TCP within tunnels is bbr.`,
    columns: PATHS.flatMap((path) =>
      LOADS.map((load): Column => ({ name: columnOf(path, load), unit: 'MB/s', digits: 1, better: 'higher', checked: true })),
    ),
    overview: PATHS.map((path) => ({
      name: `${path.name} (at most ${path.limit})`,
      columns: LOADS.map((load) => columnOf(path, load)),
    })),
    charts: PATHS.map((path, index) => ({
      name: `wan-${index + 1}`,
      title: `Emulated WAN: ${path.name}`,
      axis: 'MB/s',
      columns: LOADS.map((load) => columnOf(path, load)),
    })),
    references: ['direct TCP bbr'],
    absence: () => wanAbsence() ?? absenceOfTools('iperf3'),
    run: async (session) => {
      for (const path of PATHS) await measurePath(session, path);
    },
  };
}

async function measurePath(session: Session, path: NamedPath): Promise<void> {
  await withScope(async (owner) => {
    const site = await wanSite(owner, path.path);
    const iperf = await IperfServer.start(owner, site.server);
    await session.eachInTurn([...DIRECT_ON_WAN, ...TUNNELS], async (contender, round) => {
      const setup = { contender, site, backendPort: iperf.port, what: path.name };
      await session.measure({ suite: 'wan', round }, setup, async (running, record) => {
        for (const load of LOADS) {
          const { bytesPerSecond } = await iperf.transfer(site.client, running, load, session.seconds, contender);
          record({ [columnOf(path, load)]: bytesPerSecond / 1e6 });
        }
      });
    });
  });
}

function columnOf(path: NamedPath, load: Load): string {
  return `${path.name}: ${load.name}`;
}

const LOADS: readonly Load[] = [
  { name: '1 up', streams: 1, down: false },
  { name: '4 down', streams: 4, down: true },
];
