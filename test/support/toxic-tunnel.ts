import { eventually, Late } from './deadline.ts';
import type { Owner } from './process.ts';
import { openDescriptors } from './processes.ts';
import { startClient, startServer } from './qtunnel.ts';
import type { Mode } from './qtunnel.ts';
import { temporaryFolder } from './files.ts';
import { ToxicProxy } from './toxic-proxy.ts';
import type { Toxic } from './toxic-proxy.ts';
import { CutShort, work, workService, WrongBytes } from './work.ts';
import type { Kind } from './work.ts';

/** The ways of a connection that are TCP: to the client, between client and server (in TCP mode), and from the server. */
export type Leg = 'application–client' | 'client–server' | 'server–backend';

export function legsOf(mode: Mode): readonly Leg[] {
  return mode === 'tls' ? ['application–client', 'client–server', 'server–backend'] : ['application–client', 'server–backend'];
}

/** How much is done under a toxic. */
export interface Load {
  readonly connections: number;
  /** Of each connection. */
  readonly bytes: number;
}

interface Ends {
  /** Connections that were carried to their end. */
  readonly whole: number;
  /** Connections that were cut off, and knew it. */
  readonly cut: number;
}

export interface Outcome extends Ends {
  /** From the toxic's beginning until all of them were over. */
  readonly seconds: number;
}

/** A tunnel with a toxic proxy on each of its TCP legs. */
export class ToxicTunnel {
  readonly #port: number;
  readonly #pids: readonly number[];
  readonly #proxies: ReadonlyMap<Leg, ToxicProxy>;
  #descriptors: readonly number[] = [];

  private constructor(port: number, pids: readonly number[], proxies: ReadonlyMap<Leg, ToxicProxy>) {
    this.#port = port;
    this.#pids = pids;
    this.#proxies = proxies;
  }

  static async start(owner: Owner, mode: Mode): Promise<ToxicTunnel> {
    const proxies = new Map<Leg, ToxicProxy>();
    const through = async (leg: Leg, target: number) => {
      const proxy = await ToxicProxy.open(owner, target);
      proxies.set(leg, proxy);
      return proxy.port;
    };
    const stateDir = temporaryFolder(owner);
    // The proxies share a process with the load: on a busy machine they keep the link waiting for seconds.
    const flags = ['-log-level=info', '-keepalive=500ms', '-idle-timeout=20s'];
    const server = await startServer(owner, {
      mode,
      backend: await through('server–backend', await workService(owner)),
      stateDir,
      flags,
    });
    const ofServer = mode === 'tls' ? await through('client–server', server.port) : server.port;
    const client = await startClient(owner, { mode, server: ofServer, stateDir, flags });
    await through('application–client', client.port);
    const tunnel = new ToxicTunnel(client.port, [server.process.pid, client.process.pid], proxies);
    await tunnel.#works();
    tunnel.#descriptors = tunnel.#open();
    return tunnel;
  }

  /** Has connections carried whose way is like that from their beginning; all of them have to come through whole. */
  async endures(leg: Leg, toxic: Toxic, load: Load): Promise<Outcome> {
    const proxy = this.#proxies.get(leg)!;
    const outcome = await this.#during(proxy, toxic, () => this.#outcome(this.#load(leg, load), leg));
    if (outcome.cut > 0) throw new Error(`${outcome.cut} of ${load.connections} connections were cut off`);
    return outcome;
  }

  /**
   * Lets it happen to connections in their midst: each of them ends, and none of those between client and server seems to be whole when it is not. After it new
   * ones work.
   */
  async survives(leg: Leg, toxic: Toxic, load: Load): Promise<Outcome> {
    const proxy = this.#proxies.get(leg)!;
    const before = proxy.passed;
    const results = this.#load(leg, load);
    let isOver = false;
    void results.finally(() => (isOver = true));
    await eventually('the midst of the transfers', () => isOver || proxy.passed - before > load.bytes, DEADLINE_MS);
    if (isOver) throw new Error(`the transfers were over before anything happened to them: ${await firstFailure(results)}`);
    const outcome = await this.#during(proxy, toxic, () => this.#outcome(results, leg));
    if (outcome.cut === 0) throw new Error('nothing happened to any connection');
    await this.#works();
    return outcome;
  }

  /** Nothing of connections that are over is left. TCP mode takes half a minute for it: its pool of warm connections shrinks by half every 5 s. */
  async forgets(): Promise<void> {
    const isAtRest = () => this.#open().every((count, index) => count <= this.#descriptors[index]! + SPARE_DESCRIPTORS);
    await eventually(`as many descriptors as before (${this.#descriptors.join(', ')})`, isAtRest, POOL_SHRINKS_MS);
  }

  async #during(proxy: ToxicProxy, toxic: Toxic, happens: () => Promise<Ends>): Promise<Outcome> {
    const began = performance.now();
    await proxy.set(toxic);
    try {
      const outcome = await happens();
      return { ...outcome, seconds: (performance.now() - began) / 1000 };
    } finally {
      await proxy.set(null);
    }
  }

  #load(leg: Leg, { connections, bytes }: Load): Promise<PromiseSettledResult<void>[]> {
    const port = leg === 'application–client' ? this.#proxies.get(leg)!.port : this.#port;
    return Promise.allSettled(
      Array.from({ length: connections }, (_, index) => work(port, KINDS[index % KINDS.length]!, bytes, DEADLINE_MS)),
    );
  }

  async #outcome(load: Promise<PromiseSettledResult<void>[]>, leg: Leg): Promise<Ends> {
    const failures = (await load).flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
    for (const failure of failures)
      if (failure instanceof WrongBytes || failure instanceof Late || (failure instanceof CutShort && leg === 'client–server'))
        throw failure;
    return { whole: (await load).length - failures.length, cut: failures.length };
  }

  /** A connection may come while the link is being made anew; from one that works on, all do. */
  async #works(): Promise<void> {
    await eventually('a connection that works', () =>
      work(this.#port, 'echo', 10).then(
        () => true,
        () => false,
      ),
    );
    for (const kind of KINDS) await work(this.#port, kind, 100_000);
  }

  #open(): number[] {
    return this.#pids.map(openDescriptors);
  }
}

async function firstFailure(results: Promise<PromiseSettledResult<void>[]>): Promise<string> {
  const failed = (await results).find((result) => result.status === 'rejected');
  return failed === undefined ? 'all whole' : (failed.reason as Error).message;
}

const KINDS: readonly Kind[] = ['upload', 'download', 'echo'];
const DEADLINE_MS = 60_000;
/** TCP mode keeps a pool of connections warm, whose number is not always the same. */
const SPARE_DESCRIPTORS = 16;
const POOL_SHRINKS_MS = 60_000;
