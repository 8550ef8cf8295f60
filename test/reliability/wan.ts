import { distantNamespaces } from '../support/netns.ts';
import type { Namespace } from '../support/netns.ts';
import { run, start } from '../support/process.ts';
import type { Owner } from '../support/process.ts';
import { missingForNamespaces } from '../support/programs.ts';
import { startClient, startServer } from '../support/qtunnel.ts';
import type { Qtunnel } from '../support/qtunnel.ts';
import type { Path, Wan } from '../support/wan.ts';
import { fileURLToPath } from 'node:url';
import { demand } from './experiment.ts';
import type { Experiment, Trial } from './experiment.ts';

/** The command over an emulated wide-area network that does its worst; over UDP only. */
export function wan(): Experiment {
  return {
    name: 'wan',
    title: 'handshakes and transfers over bad networks',
    absence: () => missingForNamespaces('gcc'),
    run: async (trial) => {
      await greetings(trial, '30 % loss', { ...NEAR, loss: 30 });
      await greetings(trial, '30 % corruption', { ...NEAR, corrupt: 30, unchecked: 1 });
      for (const [what, path, bytes] of TRANSFERS)
        await trial.part(`${megabytes(bytes)} there and back: ${what}`, async (owner) => {
          const site = await openSite(owner, path);
          return await transfer(owner, site, bytes);
        });
      await trial.part('10 MB there and back at 20 Mbit/s with the path down for 2 s of every 7', (owner) =>
        underTrouble(owner, 7_000, takeDown),
      );
      await trial.part('10 MB there and back at 20 Mbit/s, a NAT that gives other ports every second', (owner) =>
        underTrouble(owner, 1_000, rebind),
      );
    },
  };
}

async function greetings(trial: Trial, what: string, path: Path): Promise<void> {
  await trial.part(`${GREETINGS} clients, one after another, at ${what} each way`, async (owner, say) => {
    const site = await openSite(owner, path);
    const seconds: number[] = [];
    for (let n = 1; n <= GREETINGS; n++) {
      const started = performance.now();
      const client = await connect(owner, site, { patience: GREETING_DEADLINE });
      seconds.push((performance.now() - started) / 1000);
      await client.process.kill();
      if (n % 10 === 0) say(`${n}: ${spread(seconds)}`);
    }
    return `all came up; from the start of the process ${spread(seconds)}`;
  });
}

/** Echoes 10 MB while something happens to the path again and again. */
async function underTrouble(owner: Owner, every: number, trouble: (wan: Wan) => void): Promise<string> {
  const site = await openSite(owner, SLOW);
  const client = await connect(owner, site);
  let times = 0;
  const again = () => {
    times++;
    trouble(site.wan);
  };
  again();
  const timer = setInterval(again, every);
  try {
    const figures = await echo(owner, site, client, 10 * MB);
    return `${figures}; it happened ${times} times`;
  } finally {
    clearInterval(timer);
    site.wan.up();
  }
}

function takeDown(path: Wan): void {
  path.down();
  setTimeout(() => path.up(), 2_000);
}

function rebind(path: Wan): void {
  path.rebind();
}

async function transfer(owner: Owner, site: Site, bytes: number): Promise<string> {
  return await echo(owner, site, await connect(owner, site), bytes);
}

/** Sends so many bytes to an echo and checks what comes back; the link has to stay the same one. */
async function echo(owner: Owner, site: Site, { process: client, port }: Client, bytes: number): Promise<string> {
  const started = performance.now();
  await run(owner, process.execPath, [program('echo-check'), '127.0.0.1', `${port}`, `${bytes}`], { prefix: site.here.prefix });
  const seconds = (performance.now() - started) / 1000;
  const lost = client.events('link_down').length + client.events('stream_reset').length;
  demand(lost === 0, `${lost} links or connections were lost`);
  return `every byte came back, in ${seconds.toFixed(1)} s; the link stayed`;
}

interface Site {
  readonly here: Namespace;
  readonly wan: Wan;
  /** The server's address. */
  readonly server: string;
}

interface Client {
  readonly process: Qtunnel;
  readonly port: number;
}

/** Two namespaces with the path between them, and at its far end an echoing backend and a server. */
async function openSite(owner: Owner, path: Path): Promise<Site> {
  const [here, there, wanBetween] = await distantNamespaces(owner, path);
  const backend = start(owner, process.execPath, [program('echo-server'), '127.0.0.1', '7000'], { prefix: there.prefix });
  await backend.line(/listening/);
  const { port } = await startServer(owner, {
    mode: 'quic',
    backend: 7000,
    listen: `${there.address}:0`,
    prefix: there.prefix,
    flags: QUIET,
  });
  return { here, wan: wanBetween, server: `${there.address}:${port}` };
}

async function connect(owner: Owner, { here, server }: Site, { patience = GREETING_DEADLINE } = {}): Promise<Client> {
  const flags = ['-fallback=false', ...QUIET];
  const client = await startClient(owner, { mode: 'quic', server, prefix: here.prefix, flags, waitForLink: false });
  await client.process.event('link_up', {}, { deadline: patience });
  return client;
}

function program(name: string): string {
  return fileURLToPath(new URL(`../support/bin/${name}.js`, import.meta.url));
}

function spread(seconds: readonly number[]): string {
  const sorted = seconds.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!.toFixed(1);
  return `half within ${at(0.5)} s, 19 of 20 within ${at(0.95)} s, all within ${at(1)} s`;
}

function megabytes(bytes: number): string {
  return `${bytes / MB} MB`;
}

const MB = 1_000_000;
const NEAR: Path = { delay: 25, seed: 1 };
const SLOW: Path = { delay: 20, rate: 20, queue: 200, seed: 1 };
const ALL_AT_ONCE: Path = { delay: 20, rate: 20, queue: 200, loss: 2, dup: 2, reorder: 2, corrupt: 2, unchecked: 1, seed: 1 };
const TRANSFERS: readonly [string, Path, number][] = [
  ['2 % loss, duplication, reordering and corruption together', ALL_AT_ONCE, 2 * MB],
  ['a round trip of 1.5 s', { delay: 750, rate: 20, queue: 4_000, seed: 1 }, 2 * MB],
];
const GREETINGS = 50;
/** Milliseconds. */
const GREETING_DEADLINE = 60_000;
const QUIET = ['-log-level=info'];
