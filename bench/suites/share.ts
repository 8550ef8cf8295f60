import { DIRECT_ON_WAN, TUNNELS } from '../contenders/index.ts';
import type { Column } from '../figures.ts';
import { IperfServer } from '../loads/iperf.ts';
import { CLEAN, LOSSY } from '../paths.ts';
import type { NamedPath } from '../paths.ts';
import { withScope } from '../../test/support/scope.ts';
import { wanAbsence, wanSite } from '../site.ts';
import type { TcpCongestion } from '../site.ts';
import type { Session } from '../session.ts';
import type { Suite } from '../suite.ts';
import { absenceOfTools } from '../tools.ts';

/** Who gets how much of a path that a flow through the tunnel shares with a plain TCP flow. */
export function share(): Suite {
  return {
    name: 'share',
    title: 'Emulated WAN: beside a plain TCP flow',
    method: () =>
      `One connection up through the tunnel and one of plain TCP beside it, ${SECONDS} s. On the clean path the other is cubic; on the lossy one it is bbr, since cubic gets little there even alone.`,
    columns: RIVALS.flatMap((rival) => [
      { name: ownColumn(rival), unit: 'MB/s', digits: 1, better: 'higher', checked: false } as Column,
      { name: otherColumn(rival), unit: 'MB/s', digits: 1, better: 'higher', checked: false } as Column,
    ]),
    charts: RIVALS.map((rival) => ({
      name: `share-${rival.name}`,
      title: `Beside a plain TCP flow (${rival.tcpCongestion}), ${rival.path.name}`,
      axis: 'MB/s',
      columns: [ownColumn(rival), otherColumn(rival)],
    })),
    references: [],
    absence: () => wanAbsence() ?? absenceOfTools('iperf3'),
    run: async (session) => {
      for (const rival of RIVALS) await measureBeside(session, rival);
    },
  };
}

async function measureBeside(session: Session, rival: Rival): Promise<void> {
  await withScope(async (owner) => {
    const site = await wanSite(owner, rival.path.path);
    const own = await IperfServer.start(owner, site.server);
    const other = await IperfServer.start(owner, site.server);
    await session.eachInTurn([...DIRECT_ON_WAN, ...TUNNELS], async (contender, round) => {
      const setup = { contender, site, backendPort: own.port, what: rival.path.name };
      await session.measure({ suite: 'share', round }, setup, async (running, record) => {
        const directly = { host: site.server.address, port: other.port };
        const [tunnelled, plain] = await Promise.all([
          own.transfer(site.client, running, LOAD, SECONDS, contender),
          other.transfer(site.client, directly, LOAD, SECONDS, rival),
        ]);
        record({ [ownColumn(rival)]: tunnelled.bytesPerSecond / 1e6, [otherColumn(rival)]: plain.bytesPerSecond / 1e6 });
      });
    });
  });
}

interface Rival {
  readonly name: string;
  readonly path: NamedPath;
  readonly tcpCongestion: TcpCongestion;
}

function ownColumn({ path }: Rival): string {
  return `${path.name}: it`;
}

function otherColumn({ path, tcpCongestion }: Rival): string {
  return `${path.name}: TCP ${tcpCongestion}`;
}

const RIVALS: readonly Rival[] = [
  { name: 'clean', path: CLEAN, tcpCongestion: 'cubic' },
  { name: 'lossy', path: LOSSY, tcpCongestion: 'bbr' },
];
const LOAD = { name: '1 up', streams: 1, down: false };
const SECONDS = 10;
