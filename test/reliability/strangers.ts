import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stopReading } from '../../src/udp/descriptor.ts';
import { cabledNamespaces } from '../support/netns.ts';
import { start } from '../support/process.ts';
import type { Owner, Program } from '../support/process.ts';
import { cpuSeconds, residentBytes } from '../support/processes.ts';
import { missingForNamespaces } from '../support/programs.ts';
import { startClient, startServer, startTunnel } from '../support/qtunnel.ts';
import type { Tunnel } from '../support/qtunnel.ts';
import { STRANGERS, type Stranger } from '../support/strangers.ts';
import { dial, listen } from '../support/tcp.ts';
import { demand } from './experiment.ts';
import type { Experiment } from './experiment.ts';

/**
 * Floods by who does not know the secret, while a client receives. Clients, strangers and server share the processors here, and a transfer that takes all it can get gives way to whatever
 * else runs: so each flood is also sent to a port where nobody reads, and what counts is the throughput against that.
 */
export function strangers(): Experiment {
  return {
    name: 'strangers',
    title: 'floods of strangers while a client transfers, and what a wrong secret is answered',
    absence: () => process.platform !== 'linux' && 'memory is read from /proc, and addresses of 127.0.0.0/8 are sent from',
    run: async (trial) => {
      const floods = `${thousands(COUNT)} of them, ${thousands(RATE)} a second`;
      for (const kind of STRANGERS)
        await trial.part(`${kind}: ${floods}, during a download at 100 Mbit/s`, (owner) =>
          flood(owner, kind, ['-bandwidth=100Mbit']),
        );
      for (const kind of ['spoofed Initials', 'random datagrams'] as const)
        await trial.part(`${kind}: ${floods}, during a download without a limit`, (owner) => flood(owner, kind, []));
      for (const [udp, how] of [
        ['auto', 'with the kernel’s filter'],
        ['dgram', 'without it'],
      ] as const)
        for (const kind of STRANGERS)
          await trial.part(`${kind}: ${floods}, to a server that does nothing else, ${how}`, (owner) => cost(owner, kind, udp));
      await trial.part('a client with a wrong secret for 10 s, the wire captured', silence);
    },
  };
}

async function flood(owner: Owner, kind: Stranger, limit: readonly string[]): Promise<string> {
  const tunnel = await startTunnel(owner, 'quic', await source(owner), { serverFlags: [...QUIET, ...limit], clientFlags: QUIET });
  const nobody = await deafPort(owner);
  const download = await Download.begin(owner, tunnel);
  const { pid } = tunnel.server.process;
  const alone: Window[] = [];
  const beside: Window[] = [];
  const attacked: Window[] = [];
  const memory: number[] = [];
  await download.rate(WARM_MS);
  for (let round = 0; round < ROUNDS; round++) {
    alone.push(await observe(download, pid));
    memory.push(download.memory);
    beside.push(await observe(download, pid, startFlood(owner, kind, nobody)));
    attacked.push(await observe(download, pid, startFlood(owner, kind, tunnel.server.port)));
  }
  const after = await observe(download, pid);
  const growth = download.memory - memory[0]!;
  const answers = attacked.reduce((sum, window) => sum + window.answers, 0);
  const share = mean(attacked, 'rate') / mean(beside, 'rate');
  const figures = [
    `${percent(share)} of the throughput beside the same flood to a port where nobody reads`,
    `which is ${percent(mean(beside, 'rate') / mean([...alone, after], 'rate'))} of that without any (${(mean(alone, 'rate') / 1e6).toFixed(0)} MB/s)`,
    `${answers} answers`,
    `RSS of the server ${(growth / 2 ** 20).toFixed(1)} MB more`,
    `CPU for each datagram: ${micros(mean(attacked, 'server') - mean(beside, 'server'))} of the server, ${micros(mean(attacked, 'flooder'))} of the flooder, ${micros(mean(beside, 'flooder'))} to the other port`,
  ].join('; ');
  // Without a limit the transfer's own speed, and what it keeps under way, differ by more than that.
  const isFlat = limit.length === 0 || growth < MOST_GROWTH;
  demand(answers === 0 && isFlat && share > LEAST_SHARE, figures);
  return figures;
}

/** Ten seconds of the download: bytes a second, seconds of CPU of the server and of who floods, and how many of his datagrams were answered. */
interface Window {
  readonly rate: number;
  readonly server: number;
  readonly flooder: number;
  readonly answers: number;
}

async function observe(download: Download, pid: number, flooder?: Program): Promise<Window> {
  const before = cpuSeconds([pid]);
  const rate = await download.rate(WINDOW_MS);
  const server = cpuSeconds([pid]) - before;
  if (flooder === undefined) return { rate, server, flooder: 0, answers: 0 };
  const { code } = await flooder.end(120_000);
  const { answers, seconds, cpu } = JSON.parse(flooder.lines.at(-1) ?? '{}') as { answers: number; seconds: number; cpu: number };
  demand(code === 0 && seconds < 4 * (COUNT / RATE), `the flood took ${seconds} s`);
  return { rate, server, flooder: cpu, answers };
}

/** A port that is bound, where what comes is thrown away as soon as the kernel has no more room for it. */
async function deafPort(owner: Owner): Promise<number> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4096 });
  owner.teardown(() => void socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  if (!stopReading(socket)) throw new Error('Node reads what comes.');
  return socket.address().port;
}

/** What each datagram costs a server that refuses it, without the noise of a transfer. */
async function cost(owner: Owner, kind: Stranger, udp: string): Promise<string> {
  const server = await startServer(owner, { mode: 'quic', backend: 7000, flags: [...QUIET, `-udp=${udp}`] });
  const pids = [server.process.pid];
  await sleep(WARM_MS);
  const before = cpuSeconds(pids);
  const { code } = await startFlood(owner, kind, server.port).end(120_000);
  demand(code === 0, 'the flood failed');
  return `${micros(cpuSeconds(pids) - before)} of its CPU for each datagram`;
}

function startFlood(owner: Owner, kind: Stranger, port: number): Program {
  const program = fileURLToPath(new URL('../support/bin/flood.js', import.meta.url));
  return start(owner, process.execPath, [program, kind, '127.0.0.1', `${port}`, `${COUNT}`, `${RATE}`]);
}

/** Nothing is to leave the server's side of the cable but what finds its neighbour (ARP). */
async function silence(owner: Owner): Promise<string> {
  const absence = missingForNamespaces('tcpdump');
  if (absence !== false) return `left out: ${absence}`;
  const [here, there] = await cabledNamespaces(owner);
  const server = await startServer(owner, { mode: 'quic', backend: 7000, listen: `${there.address}:0`, prefix: there.prefix });
  const capture = start(owner, 'tcpdump', ['-l', '-n', '-i', 'cable', 'ip or ip6'], { prefix: there.prefix });
  await capture.line(/listening on/);
  const client = await startClient(owner, {
    mode: 'quic',
    server: `${there.address}:${server.port}`,
    secret: 'a wrong secret',
    prefix: here.prefix,
    flags: ['-fallback=false'],
    waitForLink: false,
  });
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  await capture.kill('SIGINT');
  const from = (address: string) => capture.lines.filter((line) => line.includes(` IP ${address}.`)).length;
  demand(from(here.address) > 0, 'the client sent nothing');
  demand(from(there.address) === 0, `${from(there.address)} packets left the server`);
  demand(client.process.events('link_up').length === 0, 'the link came up');
  return `${from(here.address)} datagrams came to the server, not a byte left it`;
}

/** A backend that sends for as long as somebody reads. */
function source(owner: Owner): Promise<number> {
  return listen(owner, (socket) => {
    const fill = () => {
      while (!socket.destroyed && socket.write(BLOCK));
    };
    socket.on('drain', fill);
    socket.resume();
    fill();
  });
}

class Download {
  /** The server's RSS during the last window, as the median of what was seen in it: how much garbage waits differs from moment to moment. */
  memory = 0;
  #bytes = 0;
  readonly #pids: readonly number[];

  private constructor({ server }: Tunnel) {
    this.#pids = [server.process.pid];
  }

  static async begin(owner: Owner, tunnel: Tunnel): Promise<Download> {
    const download = new Download(tunnel);
    const socket = await dial(owner, tunnel.port);
    socket.on('data', (chunk: Buffer) => (download.#bytes += chunk.length));
    return download;
  }

  /** Bytes a second during so many milliseconds. */
  async rate(milliseconds: number): Promise<number> {
    const [bytes, started] = [this.#bytes, performance.now()];
    const seen: number[] = [];
    while (performance.now() - started < milliseconds) {
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
      seen.push(residentBytes(this.#pids));
    }
    this.memory = seen.toSorted((a, b) => a - b)[seen.length >>> 1]!;
    return ((this.#bytes - bytes) / (performance.now() - started)) * 1000;
  }
}

function mean(windows: readonly Window[], what: keyof Window): number {
  return windows.reduce((sum, window) => sum + window[what], 0) / windows.length;
}

/** Of the seconds that a whole flood took, those for one datagram. */
function micros(seconds: number): string {
  return `${((1e6 * seconds) / COUNT).toFixed(1)} µs`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function thousands(count: number): string {
  return count.toLocaleString('en');
}

const COUNT = 100_000;
const RATE = 10_000;
const WARM_MS = 10_000;
const WINDOW_MS = 10_000;
/** A flood and its control by turns, since the machine's speed changes. */
const ROUNDS = 2;
const SAMPLE_MS = 200;
const LEAST_SHARE = 0.8;
/** Bytes, of which a transfer's own ups and downs take some. */
const MOST_GROWTH = 5 * 2 ** 20;
const QUIET = ['-log-level=info'];
const BLOCK = Buffer.alloc(65_536, 'x');
