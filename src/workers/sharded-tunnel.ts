import type { Socket } from 'node:net';
import type { QtunnelError } from '../errors.ts';
import type { TunnelContext } from '../tunnel/context.ts';
import { rateLimited, type RateLimitedLog } from '../observe/rate-limit.ts';
import { descriptorOf } from '../resources/descriptors.ts';
import { ROOM } from '../resources/room.ts';
import { Shedding } from '../tunnel/shedding.ts';
import { flatten } from './calls.ts';
import type { Preparation } from './messages.ts';
import type { WorkerPool, WorkerPort } from './pool.ts';
import type { SocketCalls } from '../ports/socket-calls.ts';
import { Tally } from './tally.ts';

/** What the main thread does with the workers' parts of one tunnel, whether it is a client or a server. */
export class WorkerParts {
  readonly tally: Tally;
  readonly #pool: WorkerPool;
  readonly #calls: SocketCalls;
  readonly #shedding: Shedding;
  /** For what a stranger can cause as often as he likes. */
  readonly log: RateLimitedLog;
  readonly #number = nextNumber();
  #last = -1;

  constructor(pool: WorkerPool, calls: SocketCalls, context: TunnelContext) {
    this.tally = Tally.make(pool.count);
    this.#pool = pool;
    this.#calls = calls;
    this.#shedding = new Shedding(ROOM, context);
    this.log = rateLimited(context.log, { burst: 10, intervalMs: 10_000, now: () => performance.now() });
  }

  /** In all workers or in none. @throws QtunnelError of the first that cannot. */
  async prepare(preparation: (worker: number) => Omit<Preparation, 'tunnel' | 'tally'>): Promise<void> {
    const common = { tunnel: this.#number, tally: this.tally.cells };
    try {
      await this.#pool.all((port, worker) => port.call('prepare', { ...preparation(worker), ...common }));
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  async takeEffect(): Promise<void> {
    await this.#pool.all((port) => port.call('takeEffect', this.#number));
  }

  discard(): void {
    this.#pool.tellAll((port) => port.tell('discard', this.#number));
  }

  /** True when all connections ended by themselves. */
  async drain(): Promise<boolean> {
    return (await this.#pool.all((port) => port.call('drain', this.#number))).every(Boolean);
  }

  async close(reason: QtunnelError): Promise<void> {
    const input = { tunnel: this.#number, reason: flatten(reason) };
    // A worker that is gone has nothing to close.
    await Promise.allSettled(this.#pool.ports.map((port: WorkerPort) => port.call('close', input)));
  }

  /** Gives an accepted TCP connection to the worker that has the fewest. `ear` is the server's listener; null for a client, whose connections count. */
  give(socket: Socket, ear: number | null): void {
    socket.on('error', () => {});
    const shortage = ear === null ? this.#shedding.refuse(socket) : this.#shedding.refuseSocket(socket);
    if (shortage !== null) return void socket.resetAndDestroy();
    const fd = this.#calls.duplicate(descriptorOf(socket));
    socket.destroy();
    if (fd < 0) {
      this.log.warn(
        'accept',
        { event: 'accept_failed', reason: `dup: error ${this.#calls.errno()}` },
        'a connection could not be accepted',
      );
      return;
    }
    this.#last = this.tally.leastBusy(this.#last);
    if (ear === null) this.tally.add(this.#last, 1);
    this.#pool.ports[this.#last]!.tell('accept', { tunnel: this.#number, ear, fd });
  }
}

/** Names what the main thread has with its workers: tunnels and listeners. */
export function nextNumber(): number {
  return ++last;
}

let last = 0;
