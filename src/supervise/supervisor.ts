import type { Logger } from 'pino';
import { EXIT, type ExitCode } from '../cli/exit.ts';
import { Backoff } from '../protocol/backoff.ts';
import type { Child, ChildEnd, ChildHandler, StartChild } from './child.ts';
import { Heartbeat } from './heartbeat.ts';
import { KeptSockets } from './kept-sockets.ts';
import type { FromChild, Generation, SocketHandle } from './messages.ts';

export interface SupervisorOptions {
  /** The command line for children. */
  readonly words: readonly string[];
  /** Milliseconds. */
  readonly hangTimeout: number;
  readonly log: Logger;
  readonly start: StartChild;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  /** Called when a child works, for each of them. */
  readonly onReady?: () => void;
}

/**
 * Keeps a child process running:
 *
 *     starting ── ready ──▶ working ── died, hung ──▶ waiting with back-off ──▶ starting
 *        └── never worked, or its configuration is wrong ──▶ ended with its exit code
 *     any ── stop ──▶ stopping ── all have ended ──▶ ended with the worst exit code
 *
 * and at `upgrade` a second one, which takes its place when it is ready:
 *
 *     current ─────────────────────── next is ready ──▶ leaving ── drained ──▶ ended
 *     next: starting ── ready ──▶ current
 *              └── died ──▶ everything stays as it was
 *
 * It keeps the listening sockets open, so that connections wait while no child is there.
 */
export class Supervisor {
  /** The exit code. */
  readonly ended: Promise<ExitCode>;
  #end!: (code: ExitCode) => void;
  readonly #options: SupervisorOptions;
  readonly #log: Logger;
  readonly #sockets = new KeptSockets();
  readonly #backoff: Backoff;
  #current: Ward | null;
  #next: Ward | null = null;
  #leaving: Ward | null = null;
  /** An upgrade is wanted that cannot begin yet. */
  #upgradeWaits = false;
  #hasWorked = false;
  #stopping = false;
  #exitCode: ExitCode = EXIT.OK;
  #restarts = 0;
  #restartTimer: NodeJS.Timeout | null = null;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#backoff = new Backoff(FIRST_DELAY, LONGEST_DELAY, options.random);
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#current = this.#start(0);
  }

  /** A signal that is to end everything: the child drains at the first, and ends at the second. */
  stop(signal: NodeJS.Signals): void {
    const again = this.#stopping;
    this.#stopping = true;
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    this.#sockets.retain([]);
    this.#next?.child.kill();
    this.#current?.child.tell({ type: 'signal', signal });
    // One that is leaving drains already.
    if (again) this.#leaving?.child.tell({ type: 'signal', signal });
    if (this.#current === null && this.#exitCode === EXIT.OK) this.#exitCode = EXIT.FAILED;
    this.#finishIfAlone();
  }

  reload(): void {
    this.#current?.child.tell({ type: 'signal', signal: 'SIGHUP' });
  }

  /** Has a new process take the current one's place, as soon as both are there and no earlier one is leaving. */
  upgrade(): void {
    const current = this.#current;
    if (this.#stopping) return;
    if (current === null) return this.#log.info({ event: 'upgrading' }, 'a new process is about to be started anyway');
    this.#upgradeWaits = current.readyAt === null || this.#next !== null || this.#leaving !== null;
    if (this.#upgradeWaits) {
      return this.#log.info({ event: 'upgrade_waits' }, 'the upgrade waits until the one before is done, at most -drain-timeout');
    }
    if (current.obstacle !== null) {
      return this.#log.error({ event: 'upgrade_failed' }, `no upgrade: ${current.obstacle}; restart it instead`);
    }
    this.#log.info({ event: 'upgrading' }, 'a new process is started; it will take the place of the one that works');
    this.#next = this.#start(current.generation === 0 ? 1 : 0);
  }

  #start(generation: Generation): Ward {
    const { hangTimeout } = this.#options;
    const child = this.#startChild({
      onMessage: (message, socket) => this.#handleMessage(ward, message, socket),
      onExit: (end) => this.#handleExit(ward, end),
    });
    const ask = (): void => child.tell({ type: 'ping' });
    const ward: Ward = {
      child,
      heartbeat: new Heartbeat(hangTimeout, ask, () => this.#handleSilence(ward)),
      generation,
      keys: new Set(),
      readyAt: null,
      obstacle: null,
    };
    if (child !== NO_CHILD) this.#log.debug({ event: 'child_started', pid: child.pid }, `process ${child.pid} is started`);
    return ward;
  }

  /** Where no process can be made, for want of memory as a rule, it is as if one had died at once. */
  #startChild(handler: ChildHandler): Child {
    try {
      return this.#options.start(handler);
    } catch (err) {
      this.#log.error({ event: 'warning', err }, 'no process can be started');
      queueMicrotask(() => handler.onExit({ code: EXIT.FAILED, signal: null }));
      return NO_CHILD;
    }
  }

  #handleMessage(ward: Ward, message: FromChild, socket: SocketHandle | undefined): void {
    switch (message.type) {
      case 'hello':
        return this.#begin(ward);
      case 'pong':
        return ward.heartbeat.handleAnswer();
      case 'keep':
        return this.#keep(ward, message.key, socket);
      case 'release':
        return this.#release(ward, message.key);
      case 'ready':
        return this.#handleReady(ward, message.keys, message.obstacle);
      case 'link':
      case 'linkGone':
        return this.#otherThan(ward)?.child.tell(message);
    }
  }

  #begin(ward: Ward): void {
    const { child, generation } = ward;
    const other = this.#otherThan(ward);
    for (const [key, socket] of this.#sockets.entries()) child.tell({ type: 'socket', key }, socket);
    other?.child.tell({ type: 'tellLinks' });
    if (other !== null) child.tell({ type: 'tellLinks' });
    const { words } = this.#options;
    child.tell({ type: 'begin', words, restarts: this.#restarts, generation, shares: other !== null });
    if (this.#stopping) child.tell({ type: 'signal', signal: 'SIGTERM' });
  }

  #keep(ward: Ward, key: string, socket: SocketHandle | undefined): void {
    // The child may have died while its socket was on the way.
    if (socket === undefined) return;
    if (this.#stopping || ward === this.#leaving) return socket.close();
    ward.keys.add(key);
    this.#sockets.keep(key, socket);
  }

  #release(ward: Ward, key: string): void {
    ward.keys.delete(key);
    this.#dropUnused();
  }

  #handleReady(ward: Ward, keys: readonly string[], obstacle: string | null): void {
    ward.readyAt = performance.now();
    ward.keys = new Set(keys);
    ward.obstacle = obstacle;
    this.#hasWorked = true;
    this.#options.onReady?.();
    if (ward === this.#next) this.#handOver(ward);
    this.#dropUnused();
    if (this.#upgradeWaits) this.upgrade();
  }

  #handOver(next: Ward): void {
    const before = this.#current;
    this.#next = null;
    this.#current = next;
    this.#leaving = before;
    before?.child.tell({ type: 'retire' });
    const pids = { pid: next.child.pid, before: before?.child.pid };
    this.#log.info({ event: 'upgraded', ...pids }, `process ${pids.pid} takes what is new; ${pids.before} drains`);
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
    if (ward === this.#next) this.#handleNextExit(ward, end);
    else if (ward === this.#leaving) this.#handleLeavingExit(ward, end);
    else this.#handleCurrentExit(ward, end);
    this.#finishIfAlone();
  }

  #handleNextExit({ child }: Ward, end: ChildEnd): void {
    this.#next = null;
    if (this.#stopping) return;
    this.#log.error({ event: 'upgrade_failed', ...end, pid: child.pid }, `no upgrade: the new process ${howItEnded(end)}`);
    this.#dropUnused();
    this.#current?.child.tell({ type: 'alone' });
  }

  #handleLeavingExit({ child }: Ward, end: ChildEnd): void {
    this.#leaving = null;
    this.#current?.child.tell({ type: 'alone' });
    const level = end.code === EXIT.OK ? 'info' : 'warn';
    this.#log[level]({ event: 'child_left', ...end, pid: child.pid }, `the process before, ${child.pid}, ${howItEnded(end)}`);
    if (this.#stopping) this.#exitCode = worse(this.#exitCode, exitCodeOf(end));
    if (this.#upgradeWaits) this.upgrade();
  }

  #handleCurrentExit(ward: Ward, end: ChildEnd): void {
    this.#current = null;
    const code = exitCodeOf(end);
    if (this.#stopping || code === EXIT.OK) return this.#stopWith(code);
    const { pid } = ward.child;
    this.#log.error({ event: 'child_died', pid, ...end }, `process ${pid} ${howItEnded(end)}`);
    if (this.#next !== null) return this.#promoteNext(this.#next);
    // What the user has to correct does not correct itself. The child has said what it is.
    const hopeless = code === EXIT.USAGE || (!this.#hasWorked && end.signal === null);
    if (hopeless) return this.#stopWith(code);
    this.#restart(ward);
  }

  /** The one that was to take its place is on its way. */
  #promoteNext(next: Ward): void {
    this.#restarts++;
    this.#next = null;
    this.#current = next;
    next.child.tell({ type: 'alone' });
  }

  #restart({ readyAt, generation }: Ward): void {
    if (readyAt !== null && performance.now() - readyAt > LONG_ENOUGH) this.#backoff.reset();
    const delay = Math.round(this.#backoff.next());
    this.#restarts++;
    const fields = { event: 'restarting', delay_ms: delay, restarts: this.#restarts };
    this.#log.warn(fields, `starting again in ${delay} ms`);
    this.#restartTimer = setTimeout(() => (this.#current = this.#start(generation)), delay);
  }

  #stopWith(code: ExitCode): void {
    this.#stopping = true;
    this.#exitCode = worse(this.#exitCode, code);
    this.#sockets.retain([]);
    this.#next?.child.kill();
  }

  #finishIfAlone(): void {
    if (this.#stopping && this.#current === null && this.#next === null && this.#leaving === null) this.#end(this.#exitCode);
  }

  #otherThan(ward: Ward): Ward | null {
    return [this.#current, this.#next, this.#leaving].find((other) => other !== null && other !== ward) ?? null;
  }

  /** A child that is starting has yet to say which it uses. */
  #dropUnused(): void {
    const [current, next] = [this.#current, this.#next];
    if (current === null || current.readyAt === null || next !== null) return;
    this.#sockets.retain([...current.keys]);
  }
}

/** A child, and what the supervisor knows of it. */
interface Ward {
  readonly child: Child;
  readonly heartbeat: Heartbeat;
  readonly generation: Generation;
  /** Names of its sockets. */
  keys: Set<string>;
  readyAt: number | null;
  obstacle: string | null;
}

function exitCodeOf({ code }: ChildEnd): ExitCode {
  return code === EXIT.OK || code === EXIT.USAGE ? code : EXIT.FAILED;
}

function worse(one: ExitCode, other: ExitCode): ExitCode {
  return one > other ? one : other;
}

function howItEnded({ code, signal }: ChildEnd): string {
  return signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
}

const NO_CHILD: Child = { pid: 0, tell() {}, kill() {} };
/** Milliseconds. */
const FIRST_DELAY = 100;
const LONGEST_DELAY = 10_000;
/** A child that has worked for so long begins with the first delay again. */
const LONG_ENOUGH = 60_000;
