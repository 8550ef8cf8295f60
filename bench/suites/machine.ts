import type { Owner } from '../../test/support/process.ts';
import type { Contender } from '../contender.ts';
import { DIRECT, TUNNELS } from '../contenders/index.ts';
import type { Column } from '../figures.ts';
import { keepAliveRequests, newConnections } from '../loads/http.ts';
import { IperfServer } from '../loads/iperf.ts';
import type { Load } from '../loads/iperf.ts';
import { startNginx } from '../loads/nginx.ts';
import { roundTrip, startEcho } from '../loads/round-trip.ts';
import { absenceOfTools } from '../tools.ts';
import { cpuSeconds, residentBytes } from '../../test/support/processes.ts';
import { withScope } from '../../test/support/scope.ts';
import type { Session } from '../session.ts';
import { cableSite, loopbackSite, namespacesAbsence } from '../site.ts';
import type { Site } from '../site.ts';
import type { Suite } from '../suite.ts';

/** What the machine can do with nothing in the way. */
export function loopback(): Suite {
  return machineSuite({
    name: 'loopback',
    title: 'Loopback',
    where: 'Client, server and load on one machine, over its loopback interface.',
    makeSite: () => Promise.resolve(loopbackSite()),
    absence: () => null,
  });
}

/** The same where a packet has no more than Ethernet's 1500 bytes, as on a network. */
export function cable(): Suite {
  return machineSuite({
    name: 'cable',
    title: 'Ethernet-sized packets',
    where: 'As on loopback, but between two network namespaces joined by a veth pair with an MTU of 1500.',
    makeSite: cableSite,
    absence: namespacesAbsence,
  });
}

interface Kind {
  readonly name: string;
  readonly title: string;
  readonly where: string;
  readonly makeSite: (owner: Owner) => Promise<Site>;
  readonly absence: () => string | null;
}

function machineSuite({ name, title, where, makeSite, absence }: Kind): Suite {
  return {
    name,
    title,
    method: ({ seconds }) =>
      `${where} ${seconds} s each: iperf3 with 1 and 10 connections; ab -c 100 without keep-alive and wrk -c 64 against nginx; sockperf with 64 bytes. ` +
      `The last three after ${WARM_UP} s of the same that are not counted.`,
    columns: COLUMNS,
    charts: [
      { name: `${name}-throughput`, title: `${title}: throughput`, axis: 'MB/s', columns: LOADS.map((load) => load.name) },
      { name: `${name}-cpu`, title: `${title}: CPU time of both ends`, axis: 's/GB', columns: [CPU] },
      { name: `${name}-connections`, title: `${title}: new connections`, axis: 'connections/s', columns: [OPENED] },
      { name: `${name}-requests`, title: `${title}: requests with keep-alive`, axis: 'requests/s', columns: [REQUESTS] },
      { name: `${name}-round-trip`, title: `${title}: 64-byte round trip`, axis: 'µs', columns: [P50, P99] },
    ],
    references: ['stunnel', DIRECT.name],
    absence: () => absence() ?? absenceOfTools('iperf3', 'nginx', 'ab', 'sockperf'),
    run: (session) =>
      withScope(async (owner) => {
        const site = await makeSite(owner);
        const backends = {
          iperf: await IperfServer.start(owner, site.server),
          nginx: await startNginx(owner, site.server),
          echo: await startEcho(owner, site.server),
        };
        await session.eachInTurn([DIRECT, ...TUNNELS], (contender, round) =>
          measure(session, { contender, site, backends, suite: name, round }),
        );
      }),
  };
}

interface Turn {
  readonly contender: Contender;
  readonly site: Site;
  readonly backends: { readonly iperf: IperfServer; readonly nginx: number; readonly echo: number };
  readonly suite: string;
  readonly round: number;
}

/** A tunnel has one backend: it is started anew for each kind of load. */
async function measure(session: Session, turn: Turn): Promise<void> {
  const { contender, site, backends } = turn;
  const { seconds } = session;
  await bulk(session, turn);
  const toNginx = { contender, site, backendPort: backends.nginx };
  await session.measure(turn, { ...toNginx, what: OPENED }, async (running, record) => {
    const opened = await warm((duration) => newConnections(site.client, running, duration), seconds);
    record({ [OPENED]: opened });
  });
  await session.measure(turn, { ...toNginx, what: REQUESTS }, async (running, record) => {
    const requests = await warm((duration) => keepAliveRequests(site.client, running, duration), seconds);
    record({ [REQUESTS]: requests });
  });
  await session.measure(turn, { contender, site, backendPort: backends.echo, what: 'round trip' }, async (running, record) => {
    const { p50, p99 } = await warm((duration) => roundTrip(site.client, running, duration), seconds);
    record({ [P50]: p50, [P99]: p99 });
  });
}

/** What a load measures in `seconds` of a program that has been at it for a while: tunnels run for weeks, and a program with a JIT compiler is not itself at first. */
async function warm<T>(load: (seconds: number) => Promise<T>, seconds: number): Promise<T> {
  await load(WARM_UP);
  return load(seconds);
}

async function bulk(session: Session, turn: Turn): Promise<void> {
  const { contender, site, backends } = turn;
  await session.measure(turn, { contender, site, backendPort: backends.iperf.port, what: 'bulk' }, async (running, record) => {
    let resident = 0;
    for (const load of LOADS) {
      const before = cpuSeconds(running.allPids);
      const { bytes, bytesPerSecond } = await backends.iperf.transfer(site.client, running, load, session.seconds);
      const cpu = cpuSeconds(running.allPids) - before;
      resident = Math.max(resident, residentBytes(running.allPids));
      record({ [load.name]: bytesPerSecond / 1e6, ...(running.allPids.length > 0 && { [CPU]: (cpu / bytes) * 1e9 }) });
    }
    if (running.allPids.length > 0) record({ [RSS]: resident / 1e6 });
  });
}

const LOADS: readonly Load[] = [
  { name: '1 up', streams: 1, down: false },
  { name: '10 up', streams: 10, down: false },
  { name: '1 down', streams: 1, down: true },
  { name: '10 down', streams: 10, down: true },
];
/** Seconds; what V8 compiles falls from 140 stalls of over 1 ms a second to 12 within 6 to 8 of them (docs/PERFORMANCE.md, "Small requests"). */
const WARM_UP = 6;
const CPU = 'CPU';
const RSS = 'RSS, both';
const OPENED = 'new connections';
const REQUESTS = 'keep-alive requests';
const P50 = 'round trip p50';
const P99 = 'round trip p99';

const COLUMNS: readonly Column[] = [
  ...LOADS.map(({ name }): Column => ({ name, unit: 'MB/s', digits: 0, better: 'higher', checked: true })),
  { name: CPU, unit: 's/GB', digits: 1, better: 'lower', checked: true },
  { name: RSS, unit: 'MB', digits: 0, better: 'lower', checked: true },
  { name: OPENED, unit: '/s', digits: 0, better: 'higher', checked: true },
  { name: REQUESTS, unit: '/s', digits: 0, better: 'higher', checked: true },
  { name: P50, unit: 'µs', digits: 0, better: 'lower', checked: true },
  { name: P99, unit: 'µs', digits: 0, better: 'lower', checked: false },
];
