import { EventEmitter } from 'node:events';
import { EXIT, type ExitCode } from '../cli/exit.ts';
import type { Signals } from '../cli/life.ts';
import { main } from '../cli/main.ts';
import type { RunContext, RunningTunnels } from '../tunnel/run.ts';
import { KeptPorts } from './kept-ports.ts';
import type { FromChild, SocketHandle, ToChild } from './messages.ts';

/** What a process under supervision is given besides its command line. */
export interface Supervised {
  readonly context: Pick<RunContext, 'ports' | 'restarts'>;
  /** Signals as the supervisor passes them on: those of the system come to the child as well, or not, as it is started. */
  readonly signals: Signals;
  handleReady(running: Supervisable): void;
}

/** What works in it. */
export interface Supervisable extends Pick<RunningTunnels, 'answer' | 'failed'> {
  /** Why another process cannot take its place while it drains; null, or left out, when it can. */
  readonly obstacle?: string | null;
}

/** Runs the command as the supervisor asks, which is at the other end of this process's IPC channel. */
export async function runSupervised(): Promise<ExitCode> {
  const child = new SupervisedProcess();
  const words = await child.begun;
  try {
    return await main(words, process.env, child);
  } finally {
    // Or it would keep this process.
    process.channel?.unref();
  }
}

class SupervisedProcess implements Supervised {
  /** The command line. */
  readonly begun: Promise<readonly string[]>;
  readonly signals = new PassedSignals();
  readonly #ports = new KeptPorts(tell);
  #begin!: (words: readonly string[]) => void;
  #restarts = 0;
  #running: Supervisable | null = null;

  constructor() {
    this.begun = new Promise((resolve) => (this.#begin = resolve));
    for (const signal of IGNORED) process.on(signal, () => {});
    process.on('message', (message: ToChild, handle?: unknown) => this.#handle(message, handle as SocketHandle | undefined));
    // Without its supervisor nobody would start it again, and somebody may want its ports.
    process.once('disconnect', () => this.#stop('SIGTERM'));
    process.once('uncaughtExceptionMonitor', () => this.#ports.hold());
    tell({ type: 'hello' });
  }

  get context(): Supervised['context'] {
    return { ports: this.#ports, restarts: this.#restarts };
  }

  handleReady(running: Supervisable): void {
    this.#running = running;
    // A worker that fails ends the process; the next one goes on with the sockets.
    running.failed.then(
      () => this.#ports.hold(),
      () => {},
    );
    tell({ type: 'ready', keys: this.#ports.keys, obstacle: running.obstacle ?? this.#ports.obstacle });
  }

  #handle(message: ToChild, handle: SocketHandle | undefined): void {
    switch (message.type) {
      case 'socket':
        return this.#ports.give(message.key, handle!);
      case 'begin':
        this.#restarts = message.restarts;
        this.#ports.begin(message);
        return this.#begin(message.words);
      case 'retire':
        this.#ports.retire();
        return this.#stop('SIGUSR2');
      case 'alone':
        return this.#ports.handleAlone();
      case 'tellLinks':
        return this.#ports.links.startTelling();
      case 'link':
      case 'linkGone':
        return this.#ports.links.handle(message);
      case 'ping':
        return void this.#answer();
      case 'signal':
        return message.signal === 'SIGHUP' ? void this.signals.emit('SIGHUP', 'SIGHUP') : this.#stop(message.signal);
    }
  }

  /** Silence is what tells the supervisor of a thread that hangs. */
  async #answer(): Promise<void> {
    await this.#running?.answer().catch(() => {});
    tell({ type: 'pong' });
  }

  #stop(signal: NodeJS.Signals): void {
    this.#ports.hold();
    if (this.#running === null) process.exit(1);
    this.signals.emit('SIGTERM', signal);
  }
}

/** Signals come from the supervisor, everything else from the process. */
class PassedSignals implements Signals {
  readonly #passed = new EventEmitter();

  on(event: string, listener: (...values: unknown[]) => void): never {
    (event.startsWith('SIG') ? this.#passed : process).on(event, listener);
    return this as never;
  }

  off(event: string, listener: (...values: unknown[]) => void): never {
    (event.startsWith('SIG') ? this.#passed : process).off(event, listener);
    return this as never;
  }

  emit(signal: NodeJS.Signals, name: string): void {
    this.#passed.emit(signal, name);
  }
}

/** The supervisor may have gone; then there is nobody to tell. */
function tell(message: FromChild, handle?: object, then = (): void => {}): void {
  if (!process.connected) return then();
  process.send?.(message, handle as never, { keepOpen: true }, (error: Error | null) => {
    // It would wait for these as long as this process lives.
    if (error !== null && (message.type === 'hello' || message.type === 'ready')) process.exit(EXIT.FAILED);
    then();
  });
}

const IGNORED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'];
