import { cpuSeconds, residentBytes } from '../../test/support/processes.ts';
import type { Owner } from '../../test/support/process.ts';
import { withScope } from '../../test/support/scope.ts';
import { AGENTS, HUBS } from '../contenders/index.ts';
import type { AgentTarget } from '../contenders/hub.ts';
import type { Contender } from '../contender.ts';
import type { Column } from '../figures.ts';
import type { Running } from '../launch.ts';
import { newConnections } from '../loads/http.ts';
import { Idlers, serveIdle } from '../loads/idle.ts';
import { IperfServer } from '../loads/iperf.ts';
import type { Load } from '../loads/iperf.ts';
import { Knocker } from '../loads/knocker.ts';
import { startNginx } from '../loads/nginx.ts';
import type { Session } from '../session.ts';
import { hubSite, namespacesAbsence } from '../site.ts';
import type { HubSite } from '../site.ts';
import type { Suite } from '../suite.ts';
import { absenceOfTools } from '../tools.ts';

/** What a public port carries that leads to a service inside. */
export function hub(): Suite {
  return {
    name: 'hub',
    title: 'A public port',
    method: (session) =>
      `${WHERE} ${secondsOf(session)} s each: iperf3 with 1 and 16 connections; ab -c 100 without keep-alive against nginx, after ${WARM_UP} s of the same that are not ` +
      'counted. CPU is that of the processes on the public server and inside; what the kernel does for DNAT is in no process.',
    columns: [
      ...LOADS.map(({ name }): Column => ({ name, unit: 'MB/s', digits: 0, better: 'higher', checked: true })),
      { name: CPU, unit: 's/GB', digits: 2, better: 'lower', checked: true },
      { name: OPENED, unit: '/s', digits: 0, better: 'higher', checked: true },
      { name: OPENED_CPU, unit: 'µs', digits: 0, better: 'lower', checked: true },
    ],
    charts: [
      { name: 'hub-throughput', title: 'A public port: throughput', axis: 'MB/s', columns: LOADS.map(({ name }) => name) },
      { name: 'hub-connections', title: 'A public port: new connections', axis: 'connections/s', columns: [OPENED] },
    ],
    references: ['haproxy'],
    absence: () => namespacesAbsence() ?? absenceOfTools('iperf3', 'nginx', 'ab'),
    run: (session) =>
      withScope(async (owner) => {
        const site = await hubSite(owner);
        const iperf = await IperfServer.start(owner, site.server);
        const nginx = await startNginx(owner, site.server);
        await session.eachInTurn(HUBS, async (contender, round) => {
          const turn = { session, site, contender, round };
          await carry(turn, iperf);
          await open(turn, nginx);
        });
      }),
  };
}

/** What connections through a hub cost that are there and do nothing. */
export function hubIdle(): Suite {
  const columns = ['hub', 'agent', 'CPU'];
  return {
    name: 'hub-idle',
    title: 'A public port: idle connections',
    method: () =>
      `${WHERE} ${IDLE.toLocaleString('en')} connections that have carried one byte each way and stay open: what each adds to the RSS on the public server and inside, and the CPU ` +
      `time of both for opening it. Beyond ${FIRST} that were opened first.`,
    columns: columns.map((name): Column => ({
      name,
      unit: name === 'CPU' ? 'µs' : 'KB',
      digits: name === 'CPU' ? 0 : 1,
      better: 'lower',
      checked: false,
    })),
    charts: [],
    references: [],
    absence: namespacesAbsence,
    run: (session) =>
      withScope(async (owner) => {
        const site = await hubSite(owner);
        const backendPort = await serveIdle(owner, site.server);
        const contenders = HUBS.filter(({ name }) => name.startsWith('qtunnel'));
        await session.eachInTurn(contenders, async (contender, round) => {
          const setup = { contender, site, backendPort, what: 'idle connections' };
          await session.measure({ suite: 'hub-idle', round }, setup, async (running, record, within) => {
            const idlers = new Idlers(within, site.outside, running);
            await idlers.hold(FIRST);
            const before = await look(running);
            await idlers.hold(FIRST + IDLE);
            const after = await look(running);
            record({
              hub: (after.hub - before.hub) / IDLE / 1e3,
              ...(running.pids.server.length > 0 && { agent: (after.agent - before.agent) / IDLE / 1e3 }),
              CPU: ((after.cpu - before.cpu) / IDLE) * 1e6,
            });
          });
        });
      }),
  };
}

/** How long a public port is dead when its agent, or the way to it, was gone. */
export function hubReturn(): Suite {
  return {
    name: 'hub-return',
    title: 'A public port: the agent is back',
    method: () =>
      `${WHERE} A client knocks at the public port every 5 ms until a byte is answered. Killed: the agent's process ends by SIGKILL and is started again at once; counted from the kill, and from ` +
      `the new process's link. Cut: all packets between hub and agent are lost, in both directions, for ${CUT_MS / 1_000} s; counted from the moment they are let through again. ${KILLS} kills and ${CUTS} cut a round.`,
    columns: [FROM_KILL, FROM_LINK, FROM_CUT].map((name): Column => ({
      name,
      unit: 'ms',
      digits: 0,
      better: 'lower',
      checked: false,
    })),
    charts: [],
    references: [],
    absence: () => namespacesAbsence(),
    run: (session) =>
      withScope(async (owner) => {
        const site = await hubSite(owner);
        const backendPort = await serveIdle(owner, site.server);
        await session.eachInTurn(AGENTS, async (contender, round) => {
          const setup = { contender, site, backendPort, what: 'the agent is back' };
          await session.measure({ suite: 'hub-return', round }, setup, async (running, record, within) => {
            const knocker = new Knocker(within, site.outside, running);
            await knocker.firstByte();
            for (let n = 0; n < KILLS; n++) record(await killAgent(running, knocker));
            for (let n = 0; n < CUTS; n++) record(await cutAgentOff(site, within, knocker));
          });
        });
      }),
  };
}

interface Turn {
  readonly session: Session;
  readonly site: HubSite;
  readonly contender: Contender;
  readonly round: number;
}

async function carry({ session, site, contender, round }: Turn, iperf: IperfServer): Promise<void> {
  const setup = { contender, site, backendPort: iperf.port, what: 'bulk' };
  await session.measure({ suite: 'hub', round }, setup, async (running, record) => {
    for (const load of LOADS) {
      const before = cpuSeconds(running.allPids);
      const { bytes, bytesPerSecond } = await iperf.transfer(site.outside, running, load, secondsOf(session));
      const cpu = cpuSeconds(running.allPids) - before;
      record({ [load.name]: bytesPerSecond / 1e6, ...(running.allPids.length > 0 && { [CPU]: (cpu / bytes) * 1e9 }) });
    }
  });
}

async function open({ session, site, contender, round }: Turn, backendPort: number): Promise<void> {
  await session.measure({ suite: 'hub', round }, { contender, site, backendPort, what: OPENED }, async (running, record) => {
    await newConnections(site.outside, running, WARM_UP);
    const [before, since] = [cpuSeconds(running.allPids), performance.now()];
    const perSecond = await newConnections(site.outside, running, secondsOf(session));
    const opened = (perSecond * (performance.now() - since)) / 1e3;
    const cpu = cpuSeconds(running.allPids) - before;
    record({ [OPENED]: perSecond, ...(running.allPids.length > 0 && { [OPENED_CPU]: (cpu / opened) * 1e6 }) });
  });
}

/** Six contenders and twelve minutes for all three suites. */
function secondsOf({ seconds }: Session): number {
  return Math.min(seconds, MOST_SECONDS);
}

interface Look {
  readonly hub: number;
  readonly agent: number;
  readonly cpu: number;
}

/** After a while in which both ends may come to rest. */
async function look({ pids, allPids }: Running): Promise<Look> {
  await pass(REST_MS);
  return { hub: residentBytes(pids.client), agent: residentBytes(pids.server), cpu: cpuSeconds(allPids) };
}

/** The last agent that was started goes, and the next one comes. */
async function killAgent({ agents, startAgent }: AgentTarget, knocker: Knocker): Promise<Record<string, number>> {
  const killed = Date.now();
  await agents.at(-1)!.kill();
  const next = startAgent();
  const answered = await knocker.firstByte();
  const { time } = await next.event('link_up');
  return { [FROM_KILL]: answered - killed, [FROM_LINK]: answered - Date.parse(String(time)) };
}

async function cutAgentOff(site: HubSite, owner: Owner, knocker: Knocker): Promise<Record<string, number>> {
  const restore = await site.cut(owner);
  await pass(CUT_MS);
  await restore();
  const restored = Date.now();
  return { [FROM_CUT]: (await knocker.firstByte()) - restored };
}

function pass(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

const WHERE =
  'Users, the public server and the machine inside are three namespaces in a row, joined by veth pairs with an MTU of 1500.';
const LOADS: readonly Load[] = [
  { name: '1 up', streams: 1, down: false },
  { name: '16 up', streams: 16, down: false },
  { name: '1 down', streams: 1, down: true },
  { name: '16 down', streams: 16, down: true },
];
const CPU = 'CPU';
const OPENED = 'new connections';
const OPENED_CPU = 'CPU of one';
const MOST_SECONDS = 2;
/** As for the other suites. */
const WARM_UP = 6;
const IDLE = 1_000;
const FIRST = 20;
const REST_MS = 2_000;
const KILLS = 2;
const CUTS = 1;
const CUT_MS = 5_000;
const FROM_KILL = 'killed: from the kill';
const FROM_LINK = 'killed: from its link';
const FROM_CUT = 'cut: from the way back';
