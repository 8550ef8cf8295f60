import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { TunnelMetrics } from '../observe/tunnel-metrics.ts';
import type { Room, Shortage } from '../resources/room.ts';

export interface SheddingContext {
  readonly log: Logger;
  readonly metrics: TunnelMetrics;
}

/**
 * Refuses new connections while the process has too little of something, so that those that are open go on. Counts each; says the first, how many more there were
 * every `TELL_INTERVAL`, and when it is over.
 */
export class Shedding {
  readonly #room: Room;
  readonly #context: SheddingContext;
  readonly #now: () => number;
  #toldAt = -Infinity;
  #lastAt = -Infinity;
  /** Refused since the last line, and since all was well. */
  #untold = 0;
  #refused = 0;

  constructor(room: Room, context: SheddingContext, now: () => number = () => performance.now()) {
    this.#room = room;
    this.#context = context;
    this.#now = now;
  }

  /** Why an application's connection that is there already cannot be kept; null when it can. `due` as in `Room`. */
  refuse(socket: Socket, due = 0): Shortage | null {
    return this.#judge(this.#room.memoryShortage() ?? this.#room.descriptorShortageFor(socket, due));
  }

  /** The same of a connection that belongs to something that has been taken already. */
  refuseSocket(socket: Socket): Shortage | null {
    return this.#judge(this.#room.descriptorShortageFor(socket));
  }

  /** Why no connection can be made now; null when one can. */
  refuseToMake(): Shortage | null {
    return this.#judge(this.#room.memoryShortage() ?? this.#room.descriptorShortage());
  }

  /** Why no further link can be had. What it is over has its descriptor. */
  refuseLink(): Shortage | null {
    return this.#judge(this.#room.memoryShortage());
  }

  /** The system itself has refused a descriptor for a connection. */
  handleOutOfDescriptors(): void {
    this.#room.descriptors.handleRefusal();
    const shortage = this.#room.descriptorShortage();
    if (shortage !== null) this.#shed(shortage);
  }

  #judge(shortage: Shortage | null): Shortage | null {
    if (shortage !== null) this.#shed(shortage);
    else if (this.#refused > 0 && this.#now() - this.#lastAt >= QUIET) this.#recover();
    return shortage;
  }

  #shed({ resource, message }: Shortage): void {
    const now = this.#now();
    this.#context.metrics.connectionShed(resource);
    this.#lastAt = now;
    this.#refused++;
    this.#untold++;
    if (now - this.#toldAt < TELL_INTERVAL) return;
    const count = this.#untold;
    this.#toldAt = now;
    this.#untold = 0;
    const what = count === 1 ? 'a new connection was' : `${count} new connections were`;
    this.#context.log.warn({ event: 'shed', resource, count }, `${what} refused, open ones go on: ${message}`);
  }

  #recover(): void {
    this.#context.log.info(
      { event: 'shed_over', count: this.#refused },
      `new connections are taken again; ${this.#refused} were refused`,
    );
    this.#toldAt = -Infinity;
    this.#refused = this.#untold = 0;
  }
}

/** Milliseconds between lines. */
const TELL_INTERVAL = 10_000;
/** Milliseconds without a refusal after which it counts as over: at the limit one comes whenever another goes. */
const QUIET = 2_000;
