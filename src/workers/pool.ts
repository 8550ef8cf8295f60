import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import type { Logger } from 'pino';
import { Piscina } from 'piscina';
import type { ProcessSettings } from '../config/settings.ts';
import { QtunnelError } from '../errors.ts';
import { writeLine } from '../observe/log.ts';
import { ROOM } from '../resources/room.ts';
import { CallPort } from './calls.ts';
import type { MainServices, WorkerServices, WorkerTask } from './messages.ts';

export type WorkerPort = CallPort<WorkerServices, MainServices>;

/** The worker threads, each with one task that lasts as long as the process does. */
export class WorkerPool {
  readonly ports: readonly WorkerPort[];
  /** Resolves when a worker ends that should not; nothing works any more then. */
  readonly failed: Promise<QtunnelError>;
  readonly #piscina: Piscina;
  readonly #tasks: readonly Promise<unknown>[];
  readonly #onUdpClosed = new Set<(ear: number) => void>();
  #closing = false;

  constructor(count: number, log: Logger) {
    this.#piscina = new Piscina({
      filename: workerUrl().href,
      name: 'runTunnelWorker',
      minThreads: count,
      maxThreads: count,
      concurrentTasksPerWorker: 1,
      atomics: 'disabled',
      // What they wait for is descriptors of the main thread's.
      trackUnmanagedFds: false,
    });
    let fail!: (error: QtunnelError) => void;
    this.failed = new Promise((resolve) => (fail = resolve));
    const workers = Array.from({ length: count }, (_, index) => this.#start({ index, count }, log));
    this.ports = workers.map(({ port }) => port);
    this.#tasks = workers.map(async ({ task, port }, index) => {
      const cause = await task.then(
        () => undefined,
        (error: unknown) => error as Error,
      );
      if (this.#closing) return;
      const error = crashed(index, cause);
      port.close(error);
      fail(error);
    });
  }

  get count(): number {
    return this.ports.length;
  }

  /** All of the answers, in the workers' order; when some fail, the first failure once all have answered. */
  async all<T>(ask: (port: WorkerPort, index: number) => Promise<T>): Promise<T[]> {
    const answers = await Promise.allSettled(this.ports.map(ask));
    return answers.map((answer) => {
      if (answer.status === 'rejected') throw answer.reason;
      return answer.value;
    });
  }

  tellAll(tell: (port: WorkerPort) => void): void {
    for (const port of this.ports) tell(port);
  }

  /** Calls `tell` with the number of each UDP socket that a worker closes. Returns what ends that. */
  onUdpClosed(tell: (ear: number) => void): () => void {
    this.#onUdpClosed.add(tell);
    return () => this.#onUdpClosed.delete(tell);
  }

  /** Ends the threads, whatever they do. */
  async close(): Promise<void> {
    this.#closing = true;
    this.tellAll((port) => port.tell('end', null));
    await Promise.race([Promise.all(this.#tasks), this.failed]);
    this.tellAll((port) => port.close(new QtunnelError('SHUTTING_DOWN', 'The workers have been ended.')));
    await this.#piscina.destroy();
  }

  #start(place: Pick<WorkerTask, 'index' | 'count'>, log: Logger): { port: WorkerPort; task: Promise<unknown> } {
    const { port1, port2 } = new MessageChannel();
    const logLevel = log.level as ProcessSettings['logLevel'];
    const task: WorkerTask = { ...place, port: port2, logLevel, memoryCap: ROOM.memory.cap };
    const port: WorkerPort = new CallPort<WorkerServices, MainServices>(port1, {
      log: ({ level, line }) => writeLine(log, level, line),
      udpClosed: (ear) => this.#onUdpClosed.forEach((tell) => tell(ear)),
    });
    return { port, task: this.#piscina.run(task, { transferList: [port2] }) };
  }
}

function crashed(index: number, cause: Error | undefined): QtunnelError {
  const why = cause === undefined ? 'it came to its end' : cause.message;
  return new QtunnelError('INTERNAL', `Worker ${index + 1} has failed (${why}); qtunnel ends, since its connections are lost.`, {
    cause,
  });
}

/** As for the identity thread: tsc does not rewrite file names in a `new URL`. */
function workerUrl(): URL {
  return new URL(`worker${extname(fileURLToPath(import.meta.url))}`, import.meta.url);
}
