import net from 'node:net';
import type { Logger } from 'pino';
import { makeLogger } from '../observe/log.ts';
import { TunnelMetrics } from '../observe/tunnel-metrics.ts';
import { ROOM } from '../resources/room.ts';
import { ClientTunnel } from '../tunnel/client.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { NO_EVENTS } from '../tunnel/events.ts';
import { ServerTunnel } from '../tunnel/server.ts';
import type { RunningSettings, SettingsChange, Tunnel } from '../tunnel/tunnel.ts';
import type { TunnelSettings } from '../config/settings.ts';
import { CallPort, revive } from './calls.ts';
import type { MainServices, Preparation, WorkerServices, WorkerTask } from './messages.ts';
import { Tally } from './tally.ts';
import { WorkerSupplies } from './worker-supplies.ts';

/** What runs in a worker: its part of each tunnel, with links, connections and UDP sockets of its own. */
export class WorkerTunnels {
  /** Resolves when the main thread says that this is the end. */
  readonly ended: Promise<void>;
  readonly #task: WorkerTask;
  readonly #main: CallPort<MainServices, WorkerServices>;
  readonly #log: Logger;
  readonly #parts = new Map<number, Part>();
  /** By tag: a tunnel that is replaced by one of the other side hands them on. */
  readonly #metrics = new Map<string, TunnelMetrics>();

  constructor(task: WorkerTask) {
    this.#task = task;
    ROOM.memory.cap = task.memoryCap;
    let end!: () => void;
    this.ended = new Promise((resolve) => (end = resolve));
    this.#main = new CallPort<MainServices, WorkerServices>(task.port, {
      prepare: (input) => this.#prepare(input),
      takeEffect: (tunnel) => this.#settle(tunnel, (change) => change.takeEffect()),
      discard: (tunnel) => this.#settle(tunnel, (change) => change.discard()),
      accept: ({ tunnel, ear, fd }) => this.#accept(this.#parts.get(tunnel), ear, fd),
      drain: async (tunnel) => (await this.#leave(tunnel, (part) => part.drain())) ?? true,
      close: async ({ tunnel, reason }) => void (await this.#leave(tunnel, (part) => part.close(revive(reason)))),
      answer: () => {},
      snapshot: () => new Map([...this.#metrics].map(([tag, metrics]) => [tag, metrics.snapshot()])),
      forget: (tag) => void this.#metrics.delete(tag),
      setLogLevel: (level) => this.#setLogLevel(level),
      end: () => {
        task.port.close();
        end();
      },
    });
    this.#log = makeLogger(task.logLevel, new LogToMain(this.#main), { worker: task.index + 1 });
  }

  async #prepare(preparation: Preparation): Promise<void> {
    const part = this.#parts.get(preparation.tunnel) ?? this.#newPart(preparation);
    this.#parts.set(preparation.tunnel, part);
    part.supplies.preparation = preparation;
    part.change = await part.tunnel.prepare(preparation.settings as TunnelSettings);
  }

  #newPart({ tunnel: number, settings, tally: cells }: Preparation): Part {
    const { index, count } = this.#task;
    const tally = new Tally(cells);
    const supplies = new WorkerSupplies({ index, count }, tally, settings.clientmode, (ear) => this.#main.tell('udpClosed', ear));
    const metrics = this.#metrics.get(settings.tag) ?? new TunnelMetrics(settings.tag);
    this.#metrics.set(settings.tag, metrics);
    const log = this.#log.child({ tunnel: settings.tag });
    if (settings.clientmode) {
      const tellReady = (): void => queueMicrotask(() => tally.setReady(index, client.uplink.current() !== null));
      const context: TunnelContext = { log, metrics, events: { ...NO_EVENTS, onLinkUp: tellReady, onLinkDown: tellReady } };
      const client = new ClientTunnel(settings, context, supplies);
      return { number, log, supplies, tunnel: client, client, change: null };
    }
    const server = new ServerTunnel(settings as TunnelSettings, { log, metrics, events: NO_EVENTS }, supplies);
    return { number, log, supplies, tunnel: server, client: null, change: null };
  }

  #settle(tunnel: number, how: (change: SettingsChange) => void): void {
    const part = this.#parts.get(tunnel);
    const change = part?.change ?? null;
    if (part === undefined || change === null) return;
    part.change = null;
    how(change);
  }

  #accept(part: Part | undefined, ear: number | null, fd: number): void {
    const socket = new net.Socket({ fd, allowHalfOpen: ear === null, readable: true, writable: true });
    const acceptor = ear === null ? part?.client : part?.supplies.acceptor(ear);
    // The tunnel, or the listener, has gone meanwhile.
    if (acceptor === undefined || acceptor === null) return void socket.on('error', () => {}).destroy();
    acceptor.accept(socket);
  }

  async #leave<T>(tunnel: number, how: (part: Tunnel) => Promise<T>): Promise<T | undefined> {
    const part = this.#parts.get(tunnel);
    if (part === undefined) return undefined;
    try {
      return await how(part.tunnel);
    } finally {
      this.#parts.delete(tunnel);
    }
  }

  #setLogLevel(level: WorkerTask['logLevel']): void {
    this.#log.level = level;
    for (const { log } of this.#parts.values()) log.level = level;
  }
}

interface Part {
  readonly number: number;
  readonly log: Logger;
  readonly supplies: WorkerSupplies;
  readonly tunnel: { prepare(settings: RunningSettings & TunnelSettings): Promise<SettingsChange> } & Tunnel;
  readonly client: ClientTunnel | null;
  change: SettingsChange | null;
}

/** Where a worker's lines go: the process has one log. */
class LogToMain {
  lastLevel = 30;
  readonly #main: CallPort<MainServices, WorkerServices>;

  constructor(main: CallPort<MainServices, WorkerServices>) {
    this.#main = main;
    // Makes pino tell each line's level.
    Object.assign(this, { [Symbol.for('pino.metadata')]: true });
  }

  write(line: string): void {
    this.#main.tell('log', { level: this.lastLevel, line });
  }
}
