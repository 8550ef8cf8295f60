import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Socket } from 'node:net';
import { missingPostgres, startPostgres } from '../hub/support/postgres.ts';
import { eventually } from '../support/deadline.ts';
import { temporaryFolder } from '../support/files.ts';
import { COLLECTABLE, residentWithoutGarbage } from '../support/live-memory.ts';
import { cabledNamespaces } from '../support/netns.ts';
import { type Owner, run, start as startProgram } from '../support/process.ts';
import { missingForNamespaces } from '../support/programs.ts';
import { type Qtunnel, startQtunnel } from '../support/qtunnel.ts';
import { startNginx, startSshd } from '../support/services.ts';
import { dial, echoServer, freePort, receive } from '../support/tcp.ts';
import { demand, type Experiment } from './experiment.ts';

/** A hub with many ports: its connections, and what becomes of them when hub or agent is killed. */
export function hub(): Experiment {
  return {
    name: 'hub',
    title: 'a hub with 100 ports of an agent, 1,000 connections, and both sides killed again and again',
    absence: () => process.platform !== 'linux' && 'memory is read from /proc',
    run: async (trial) => {
      await trial.part(`${CONNECTIONS} connections over ${PORTS} ports, each with 64 KiB there and back`, many);
      if (missingForNamespaces(...PROGRAMS) === false && missingPostgres() === false)
        await trial.part('ssh, nginx, PostgreSQL and a DNS server inside, each used from outside through the hub', services);
      await trial.part(`the agent killed and started again, ${RESTARTS} times`, agentRestarts);
      await trial.part(`the hub killed and started again, ${RESTARTS} times`, hubRestarts);
    },
  };
}

async function many(owner: Owner, say: (line: string) => void): Promise<string> {
  const { hub: process, ports } = await start(owner);
  const empty = await residentWithoutGarbage(process.pid);
  const sockets: Socket[] = [];
  for (let from = 0; from < CONNECTIONS; from += PORTS) {
    sockets.push(...(await Promise.all(ports.map((port) => dial(owner, port)))));
    say(`${from + PORTS} connections`);
  }
  const idle = await residentWithoutGarbage(process.pid);
  for (let from = 0; from < sockets.length; from += AT_ONCE) await Promise.all(sockets.slice(from, from + AT_ONCE).map(roundTrip));
  for (const socket of sockets) socket.end();
  // Those that asked whether the ports were there said less.
  const whole = () => process.events('stream_closed').filter(({ sent, received }) => sent === BLOCK && received === BLOCK).length;
  await eventually(`the end of all, counted as they were (${whole()})`, () => whole() === CONNECTIONS);
  return `all whole, and counted as they were; the hub takes ${Math.round((idle - empty) / CONNECTIONS / 1024)} KiB for an idle connection`;
}

async function agentRestarts(owner: Owner): Promise<string> {
  const running = await start(owner);
  let agent = running.agent;
  const times: number[] = [];
  for (let n = 0; n < RESTARTS; n++) {
    await agent.kill();
    const begun = performance.now();
    agent = startAgent(owner, running);
    await answered(owner, running.ports);
    times.push(performance.now() - begun);
  }
  return `all ${PORTS} ports answer again after ${middle(times)} s (median; at most ${most(times)} s), from the start of the process`;
}

async function hubRestarts(owner: Owner): Promise<string> {
  const running = await start(owner);
  let { hub: process } = running;
  const times: number[] = [];
  for (let n = 0; n < RESTARTS; n++) {
    await process.kill();
    const begun = performance.now();
    process = await startHub(owner, running);
    await answered(owner, running.ports);
    times.push(performance.now() - begun);
  }
  return `all ${PORTS} ports answer again after ${middle(times)} s (median; at most ${most(times)} s), from the start of the process`;
}

/** What is inside lets nobody in; the hub is outside, and so are those who use the services. */
async function services(owner: Owner): Promise<string> {
  const [outside, inside] = await cabledNamespaces(owner);
  const rules =
    'table inet closed { chain input { type filter hook input priority 0; ct state established,related accept; iif "lo" accept; drop; }; }';
  await run(owner, 'nft', [rules], { prefix: inside.prefix });
  const page = randomBytes(5_000_000);
  const ssh = await startSshd(owner, inside);
  const database = await startPostgres(owner, inside);
  const web = await startNginx(owner, page, inside);
  await startProgram(owner, process.execPath, ['-e', DNS_SERVER], inside).line(/ready/);
  const folder = temporaryFolder(owner);
  const wishes = [
    `10022:127.0.0.1:${ssh.port}`,
    `10080:127.0.0.1:${web}`,
    `10432:127.0.0.1:${database.port}`,
    '10053:127.0.0.1:53/udp',
  ];
  const hub = startQtunnel(owner, ['hub', '-listen=:9000', '-ports=10000-10500', `-state-dir=${folder}`], {
    prefix: outside.prefix,
  });
  await hub.event('listening');
  const flags = [`-server=${outside.address}:9000`, '-name=box', `-state-dir=${folder}`, ...wishes.flatMap((wish) => ['-R', wish])];
  const agent = startQtunnel(owner, ['agent', ...flags], { prefix: inside.prefix });
  for (const mapping of ['tcp/10022', 'tcp/10080', 'tcp/10432', 'udp/10053']) await agent.event('port_open', { mapping });

  const from = { prefix: outside.prefix };
  const ask = (command: string, args: readonly string[]) => run(owner, command, args, from);
  const said = await ask('ssh', [...ssh.options, '-p', '10022', outside.address, 'echo', 'from inside']);
  demand(said === 'from inside', `ssh says ${said}`);
  const copy = join(folder, 'page');
  await ask('curl', ['--silent', '--fail', '-o', copy, `http://${outside.address}:10080/page`]);
  demand(readFileSync(copy).equals(page), 'The page came damaged');
  const rows = await ask('psql', [
    '-At',
    '-c',
    'select count(*) from generate_series(1, 100000)',
    `postgres://postgres@${outside.address}:10432/postgres`,
  ]);
  demand(rows === '100000', `psql says ${rows}`);
  const address = await ask(process.execPath, ['-e', DNS_CLIENT, `${outside.address}:10053`]);
  demand(address === '192.0.2.7', `The DNS server says ${address}`);
  const direct = await ask('curl', ['--silent', '-m', '1', `http://${inside.address}:${web}/page`]).catch(() => 'nothing');
  demand(direct === 'nothing', 'The inside can be reached without the hub');
  return 'a command over ssh, a page of 5 MB, a query with psql, a name over UDP; nothing of it without the hub';
}

interface Where {
  readonly listen: number;
  readonly ports: readonly number[];
  readonly target: number;
  readonly stateDir: string;
}

interface Running extends Where {
  readonly hub: Qtunnel;
  readonly agent: Qtunnel;
}

async function start(owner: Owner): Promise<Running> {
  const ports: number[] = [];
  while (ports.length < PORTS) ports.push(await freePort());
  const where = { listen: await freePort(), ports, target: await echoServer(owner), stateDir: temporaryFolder(owner) };
  const hub = await startHub(owner, where);
  const agent = startAgent(owner, where);
  await answered(owner, ports);
  return { ...where, hub, agent };
}

async function startHub(owner: Owner, { listen, stateDir }: Where): Promise<Qtunnel> {
  const flags = [`-listen=127.0.0.1:${listen}`, '-ports=127.0.0.1:10000-30000', `-state-dir=${stateDir}`];
  const hub = startQtunnel(owner, ['hub', ...flags], { env: COLLECTABLE });
  await hub.event('listening');
  return hub;
}

function startAgent(owner: Owner, { listen, ports, target, stateDir }: Where): Qtunnel {
  const wishes = ports.flatMap((port) => ['-R', `${port}:127.0.0.1:${target}`]);
  return startQtunnel(owner, ['agent', `-server=127.0.0.1:${listen}`, '-name=box', `-state-dir=${stateDir}`, ...wishes]);
}

/** Each port has answered. */
async function answered(owner: Owner, ports: readonly number[]): Promise<void> {
  for (const port of ports) await eventually(`an answer from port ${port}`, () => answers(owner, port));
}

async function answers(owner: Owner, port: number): Promise<boolean> {
  try {
    const socket = await dial(owner, port);
    socket.write('x');
    const [byte] = await receive(socket, 1);
    socket.destroy();
    return byte === 'x'.charCodeAt(0);
  } catch {
    return false;
  }
}

async function roundTrip(socket: Socket): Promise<void> {
  const block = randomBytes(BLOCK);
  socket.write(block);
  demand(sum(await receive(socket, BLOCK)) === sum(block), 'What came back is something else');
}

function sum(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function middle(times: readonly number[]): string {
  return seconds(times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!);
}

function most(times: readonly number[]): string {
  return seconds(Math.max(...times));
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(2);
}

/** Answers each question with one address. */
const DNS_SERVER = `const socket = require('dgram').createSocket('udp4');
socket.on('message', (query, { port, address }) => {
  const end = query.indexOf(0, 12) + 5;
  const answer = Buffer.concat([query.subarray(0, end), Buffer.from('c00c00010001000000050004c0000207', 'hex')]);
  answer.writeUInt16BE(0x8180, 2);
  answer.writeUInt16BE(1, 6);
  answer.writeUInt32BE(0, 8);
  socket.send(answer, port, address);
}).bind(53, '127.0.0.1', () => console.log('ready'));`;
const DNS_CLIENT = `const resolver = new (require('dns').promises.Resolver)();
resolver.setServers([process.argv[1]]);
resolver.resolve4('inside.example').then(([address]) => console.log(address));`;
const PROGRAMS = ['nft', 'nginx', 'curl', 'sshd', 'ssh', 'ssh-keygen', 'psql'];
const PORTS = 100;
const CONNECTIONS = 1_000;
const RESTARTS = 20;
const BLOCK = 64 * 1024;
const AT_ONCE = 50;
