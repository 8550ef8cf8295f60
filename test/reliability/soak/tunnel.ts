import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../support/deadline.ts';
import { temporaryFolder } from '../../support/files.ts';
import type { Owner } from '../../support/process.ts';
import { openDescriptors } from '../../support/processes.ts';
import { startClient, startServer } from '../../support/qtunnel.ts';
import type { Mode, RunningClient, RunningServer, ServerOptions } from '../../support/qtunnel.ts';
import { withScope } from '../../support/scope.ts';
import { SteadyLoad } from '../../support/steady-load.ts';
import { dial, freePort, receive } from '../../support/tcp.ts';
import { UdpRelay } from '../../support/udp-relay.ts';
import { work, workService } from '../../support/work.ts';

/** A tunnel under mixed load, to which things happen. */
export class SoakedTunnel {
  readonly mode: Mode;
  readonly client: RunningClient;
  server: RunningServer;
  /** Descriptors that either side had before there were connections. */
  readonly atRest: Pair;
  readonly loads: readonly SteadyLoad[];
  readonly #serverOptions: ServerOptions;
  readonly #relay: UdpRelay | null;
  readonly #backend: number;
  #idle: Socket[] = [];
  #resets = 0;
  #isOver = false;
  readonly #others: Promise<unknown>;

  private constructor(owner: Owner, mode: Mode, parts: Parts) {
    this.mode = mode;
    this.client = parts.client;
    this.server = parts.server;
    this.atRest = { server: openDescriptors(parts.server.process.pid), client: openDescriptors(parts.client.process.pid) };
    this.#serverOptions = parts.serverOptions;
    this.#relay = parts.relay;
    this.#backend = parts.backend;
    const { port } = parts.client;
    this.loads = [
      new SteadyLoad(port, 2, [
        { kind: 'upload', bytes: 20_000_000 },
        { kind: 'download', bytes: 20_000_000 },
      ]),
      new SteadyLoad(port, 8, [
        { kind: 'echo', bytes: 100 },
        { kind: 'echo', bytes: 30_000 },
        { kind: 'download', bytes: 5000 },
      ]),
    ];
    this.#others = Promise.all([this.#serveByTurns(), this.#reset(), this.#keepIdle(owner)]);
  }

  static async start(owner: Owner, mode: Mode): Promise<SoakedTunnel> {
    const backend = await freePort();
    const common = { mode, stateDir: temporaryFolder(owner), flags: ['-log-level=info', `-bandwidth=${BANDWIDTH}`] } as const;
    const serverOptions = { ...common, backend, listen: `127.0.0.1:${await freePort()}` };
    const server = await startServer(owner, serverOptions);
    const relay = mode === 'quic' ? await UdpRelay.open(owner, server.port) : null;
    const client = await startClient(owner, {
      ...common,
      flags: [...common.flags, '-fallback=false'],
      server: relay?.port ?? server.port,
    });
    return new SoakedTunnel(owner, mode, { client, server, serverOptions, relay, backend });
  }

  /** Kills the server with -9 and starts it again. */
  async killServer(owner: Owner): Promise<void> {
    await this.server.process.kill('SIGKILL');
    this.server = await startServer(owner, this.#serverOptions);
  }

  /** The client has another address for the server; nothing over TCP. */
  async moveClient(): Promise<void> {
    await this.#relay?.rebind();
  }

  /** Nothing passes for a while; nothing over TCP. */
  async blackOut(): Promise<void> {
    if (this.#relay === null) return;
    this.#relay.passes = false;
    await sleep(BLACKOUT_MS);
    this.#relay.passes = true;
  }

  /** Resolves when all has ended, and a last connection has been carried. */
  async stop(): Promise<string> {
    for (const load of this.loads) await load.stop();
    await eventually('a connection that works', () =>
      work(this.client.port, 'echo', 10_000).then(
        () => true,
        () => false,
      ),
    );
    this.#isOver = true;
    await this.#others;
    for (const socket of this.#idle) socket.destroy();
    const sum = (value: (load: SteadyLoad) => number) =>
      this.loads.reduce((total, load) => total + value(load), 0).toLocaleString('en');
    return `${sum(({ whole }) => whole)} connections whole, ${sum(({ cut }) => cut)} cut off by faults, ${this.#resets.toLocaleString('en')} reset by applications, ${sum(({ wrongs }) => wrongs.length)} hung or wrong`;
  }

  /** The backend goes down and comes back again and again. */
  async #serveByTurns(): Promise<void> {
    while (!this.#isOver) {
      await withScope(async (owner) => {
        await workService(owner, this.#backend);
        for (let waited = 0; waited < BACKEND_UP_MS && !this.#isOver; waited += TURN_MS) await sleep(TURN_MS);
      });
      await sleep(BACKEND_DOWN_MS);
    }
  }

  /** Applications that go away in the midst of what they asked for. */
  async #reset(): Promise<void> {
    while (!this.#isOver) {
      await withScope(async (owner) => {
        const socket = await dial(owner, this.client.port);
        socket.write(DOWNLOAD);
        await Promise.race([receive(socket, 1000).catch(() => {}), sleep(1000)]);
        // A fault may have closed it before.
        const closed = socket.closed ? null : once(socket, 'close');
        socket.resetAndDestroy();
        this.#resets++;
        await closed;
      }).catch(() => {});
      await sleep(TURN_MS);
    }
  }

  /** Connections that say nothing; those that a fault has ended are made anew. */
  async #keepIdle(owner: Owner): Promise<void> {
    while (!this.#isOver) {
      this.#idle = this.#idle.filter((socket) => !socket.destroyed);
      // While there is no server a connection is reset; the next turn tries again.
      while (this.#idle.length < IDLE && (await this.#addIdle(owner)));
      await sleep(TURN_MS);
    }
  }

  async #addIdle(owner: Owner): Promise<boolean> {
    const socket = await dial(owner, this.client.port).catch(() => null);
    if (socket === null) return false;
    socket.resume().on('end', () => socket.destroy());
    this.#idle.push(socket);
    return true;
  }
}

interface Pair {
  readonly server: number;
  readonly client: number;
}

interface Parts {
  readonly client: RunningClient;
  readonly server: RunningServer;
  readonly serverOptions: ServerOptions;
  readonly relay: UdpRelay | null;
  readonly backend: number;
}

/** The head of a download of 5 MB (work.ts). */
const DOWNLOAD = Buffer.from([0x64, 0, 0, 0, 0x4c, 0x4b, 0x40]);
/** Bulk that takes all it can would keep faults and other programs waiting for the processors. */
const BANDWIDTH = '100Mbit';
const IDLE = 50;
const TURN_MS = 200;
const BACKEND_UP_MS = 15_000;
const BACKEND_DOWN_MS = 300;
const BLACKOUT_MS = 3000;
