import { Program } from '../../test/support/process.ts';
import type { Owner } from '../../test/support/process.ts';
import { freePort } from '../../test/support/tcp.ts';
import { DIRECT, TUNNELS } from '../contenders/index.ts';
import type { Column } from '../figures.ts';
import { listening } from '../listening.ts';
import { runLoad } from '../loads/client.ts';
import { makePath } from '../paths.ts';
import { programFile } from '../programs/path.ts';
import { withScope } from '../../test/support/scope.ts';
import { wanAbsence, wanSite } from '../site.ts';
import type { Host } from '../site.ts';
import type { Suite } from '../suite.ts';

/** How long the first bytes of a tunnel take that has just been started. */
export function start(): Suite {
  return {
    name: 'start',
    title: 'Emulated WAN: the first megabyte',
    method: () =>
      `The first connection through a tunnel that is up and has carried nothing, from asking for it until 10⁶ bytes have arrived; ${PATH.name}. TCP is bbr.`,
    columns: DIRECTIONS.map((name): Column => ({ name, unit: 'ms', digits: 0, better: 'lower', checked: true })),
    charts: [{ name: 'start', title: `The first megabyte, ${PATH.name}`, axis: 'ms', columns: DIRECTIONS }],
    references: [DIRECT.name],
    absence: wanAbsence,
    run: (session) =>
      withScope(async (owner) => {
        const site = await wanSite(owner, PATH.path);
        const backendPort = await serve(owner, site.server);
        await session.eachInTurn([DIRECT, ...TUNNELS], async (contender, round) => {
          for (const direction of DIRECTIONS)
            await session.measure(
              { suite: 'start', round },
              { contender, site, backendPort, what: direction },
              async (target, record) => {
                const args = [programFile('megabyte'), direction, target.host, `${target.port}`];
                record({ [direction]: Number(await runLoad(site.client, process.execPath, args, 0)) });
              },
            );
        });
      }),
  };
}

async function serve(owner: Owner, host: Host): Promise<number> {
  const port = await freePort();
  const server = new Program(process.execPath, [programFile('megabyte'), 'serve', `${port}`], { prefix: host.prefix });
  owner.teardown(() => server.kill());
  await listening(server, port);
  return port;
}

const PATH = makePath({ rtt: 100, rate: 100 });
const DIRECTIONS = ['up', 'down'];
