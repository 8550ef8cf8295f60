import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
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
 * Floods by who does not know the secret, while a client receives 100 Mbit/s. On a machine where clients, strangers and server share the processors, a transfer that takes all it can get
 * gives way to whatever else runs; what the strangers cost the server is told in its CPU time.
 */
export function strangers(): Experiment {
  return {
    name: 'strangers',
    title: 'floods of strangers while a client transfers, and what a wrong secret is answered',
    absence: () => process.platform !== 'linux' && 'memory is read from /proc, and addresses of 127.0.0.0/8 are sent from',
    run: async (trial) => {
      for (const kind of STRANGERS)
        await trial.part(`${thousands(COUNT)} ${kind}, ${thousands(RATE)} a second, during a download at 100 Mbit/s`, (owner) =>
          flood(owner, kind),
        );
      for (const kind of STRANGERS)
        await trial.part(`${thousands(COUNT)} ${kind}, ${thousands(RATE)} a second, to a server that does nothing else`, (owner) =>
          cost(owner, kind),
        );
      await trial.part('a client with a wrong secret for 10 s, the wire captured', silence);
    },
  };
}

async function flood(owner: Owner, kind: Stranger): Promise<string> {
  const serverFlags = [...QUIET, '-bandwidth=100Mbit'];
  const tunnel = await startTunnel(owner, 'quic', await source(owner), { serverFlags, clientFlags: QUIET });
  const download = await Download.begin(owner, tunnel);
  const pids = [tunnel.server.process.pid];
  await download.rate(WARM_MS);
  let cpu = cpuSeconds(pids);
  const before = await download.rate(WINDOW_MS);
  const undisturbed = cpuSeconds(pids) - cpu;
  const { memory } = download;
  const child = startFlood(owner, kind, tunnel.server.port);
  cpu = cpuSeconds(pids);
  const during = await download.rate(WINDOW_MS);
  const { code } = await child.end(120_000);
  const { answers, seconds } = JSON.parse(child.lines.at(-1) ?? '{}') as { answers: number; seconds: number };
  const disturbed = cpuSeconds(pids) - cpu - (undisturbed * seconds * 1000) / WINDOW_MS;
  const after = await download.rate(WINDOW_MS);
  const growth = download.memory - memory;

  const share = during / ((before + after) / 2);
  const figures = [
    `${percent(share)} of the throughput without them`,
    `${answers} answers`,
    `RSS of the server ${(growth / 2 ** 20).toFixed(1)} MB more`,
    `${((1e6 * disturbed) / COUNT).toFixed(0)} µs of its CPU for each datagram`,
  ].join('; ');
  demand(code === 0 && seconds < 4 * (COUNT / RATE), `the flood took ${seconds} s`);
  demand(answers === 0 && growth < MOST_GROWTH && share > LEAST_SHARE, figures);
  return figures;
}

/** What each datagram costs a server that refuses it, without the noise of a transfer. */
async function cost(owner: Owner, kind: Stranger): Promise<string> {
  const server = await startServer(owner, { mode: 'quic', backend: 7000, flags: QUIET });
  const pids = [server.process.pid];
  await sleep(WARM_MS);
  const before = cpuSeconds(pids);
  const { code } = await startFlood(owner, kind, server.port).end(120_000);
  demand(code === 0, 'the flood failed');
  return `${((1e6 * (cpuSeconds(pids) - before)) / COUNT).toFixed(1)} µs of its CPU for each datagram`;
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
const SAMPLE_MS = 200;
const LEAST_SHARE = 0.8;
/** Bytes, of which a transfer's own ups and downs take some. */
const MOST_GROWTH = 5 * 2 ** 20;
const QUIET = ['-log-level=info'];
const BLOCK = Buffer.alloc(65_536, 'x');
