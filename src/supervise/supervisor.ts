import type { Logger } from 'pino';
import { EXIT, type ExitCode } from '../cli/exit.ts';
import { Backoff } from '../protocol/backoff.ts';
import type { Child, ChildEnd, StartChild } from './child.ts';
import { Heartbeat } from './heartbeat.ts';
import { KeptSockets } from './kept-sockets.ts';
import type { FromChild, SocketHandle } from './messages.ts';

export interface SupervisorOptions {
  /** The command line for children. */
  readonly words: readonly string[];
  /** Milliseconds. */
  readonly hangTimeout: number;
  readonly log: Logger;
  readonly start: StartChild;
  /** Numbers in [0, 1). */
  readonly random: () => number;
}

/**
 * Keeps a child process running:
 *
 *     starting ── ready ──▶ working ── died, hung ──▶ waiting with back-off ──▶ starting
 *        └── never worked, or its configuration is wrong ──▶ ended with its exit code
 *     any ── stop ──▶ stopping ── child has ended ──▶ ended with its exit code
 *
 * It keeps the child's listening sockets open, so that connections wait while none is there.
 */
export class Supervisor {
  /** The exit code. */
  readonly ended: Promise<ExitCode>;
  #end!: (code: ExitCode) => void;
  readonly #options: SupervisorOptions;
  readonly #log: Logger;
  readonly #sockets = new KeptSockets();
  readonly #backoff: Backoff;
  #current: Ward | null = null;
  #hasWorked = false;
  #stopping = false;
  #restarts = 0;
  #restartTimer: NodeJS.Timeout | null = null;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#backoff = new Backoff(FIRST_DELAY, LONGEST_DELAY, options.random);
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#current = this.#start();
  }

  /** A signal that is to end everything: the child drains at the first, and ends at the second. */
  stop(signal: NodeJS.Signals): void {
    this.#stopping = true;
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    this.#sockets.retain([]);
    if (this.#current === null) this.#end(EXIT.FAILED);
    else this.#current.child.tell({ type: 'signal', signal });
  }

  reload(): void {
    this.#current?.child.tell({ type: 'signal', signal: 'SIGHUP' });
  }

  #start(): Ward {
    const { start, hangTimeout } = this.#options;
    const child = start({
      onMessage: (message, socket) => this.#handleMessage(ward, message, socket),
      onExit: (end) => this.#handleExit(ward, end),
    });
    const ask = (): void => child.tell({ type: 'ping' });
    const ward: Ward = {
      child,
      heartbeat: new Heartbeat(hangTimeout, ask, () => this.#handleSilence(ward)),
      readyAt: null,
    };
    this.#log.debug({ event: 'child_started', pid: child.pid }, `process ${child.pid} is started`);
    return ward;
  }

  #handleMessage(ward: Ward, message: FromChild, socket: SocketHandle | undefined): void {
    switch (message.type) {
      case 'hello':
        return this.#begin(ward);
      case 'pong':
        return ward.heartbeat.handleAnswer();
      case 'keep':
        return this.#keep(message.key, socket);
      case 'release':
        return this.#sockets.release(message.key);
      case 'ready':
        return this.#handleReady(ward, message.keys);
    }
  }

  #begin({ child }: Ward): void {
    for (const [key, socket] of this.#sockets.entries()) child.tell({ type: 'socket', key }, socket);
    child.tell({ type: 'begin', words: this.#options.words, restarts: this.#restarts });
    if (this.#stopping) child.tell({ type: 'signal', signal: 'SIGTERM' });
  }

  /** The child may have died while its socket was on the way. */
  #keep(key: string, socket: SocketHandle | undefined): void {
    if (socket === undefined) return;
    if (this.#stopping) socket.close();
    else this.#sockets.keep(key, socket);
  }

  #handleReady(ward: Ward, keys: readonly string[]): void {
    ward.readyAt = performance.now();
    this.#hasWorked = true;
    this.#sockets.retain(keys);
  }

  #handleSilence({ child }: Ward): void {
    const seconds = this.#options.hangTimeout / 1000;
    this.#log.error(
      { event: 'child_hung', pid: child.pid },
      `process ${child.pid} has not answered for ${seconds} s (-hang-timeout)`,
    );
    child.kill();
  }

  #handleExit(ward: Ward, end: ChildEnd): void {
    ward.heartbeat.stop();
    this.#current = null;
    const code = exitCodeOf(end);
    if (this.#stopping || code === EXIT.OK) return this.#finish(code);
    const { pid } = ward.child;
    const how = end.signal === null ? `ended with exit code ${end.code}` : `was ended by ${end.signal}`;
    this.#log.error({ event: 'child_died', pid, code: end.code, signal: end.signal }, `process ${pid} ${how}`);
    // What the user has to correct does not correct itself. The child has said what it is.
    const hopeless = code === EXIT.USAGE || (!this.#hasWorked && end.signal === null);
    if (hopeless) return this.#finish(code);
    this.#restart(ward);
  }

  #restart({ readyAt }: Ward): void {
    if (readyAt !== null && performance.now() - readyAt > LONG_ENOUGH) this.#backoff.reset();
    const delay = Math.round(this.#backoff.next());
    this.#restarts++;
    const fields = { event: 'restarting', delay_ms: delay, restarts: this.#restarts };
    this.#log.warn(fields, `starting again in ${delay} ms`);
    this.#restartTimer = setTimeout(() => (this.#current = this.#start()), delay);
  }

  #finish(code: ExitCode): void {
    this.#sockets.retain([]);
    this.#end(code);
  }
}

/** A child, and what the supervisor knows of it. */
interface Ward {
  readonly child: Child;
  readonly heartbeat: Heartbeat;
  readyAt: number | null;
}

function exitCodeOf({ code }: ChildEnd): ExitCode {
  return code === EXIT.OK || code === EXIT.USAGE ? code : EXIT.FAILED;
}

/** Milliseconds. */
const FIRST_DELAY = 100;
const LONGEST_DELAY = 10_000;
/** A child that has worked for so long begins with the first delay again. */
const LONG_ENOUGH = 60_000;
