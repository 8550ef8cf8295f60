import { closeSync, openSync, readSync } from 'node:fs';
import type { Socket } from 'node:net';

/** How this process's file descriptors are asked for. */
export interface DescriptorCalls {
  /** The most that it may have open at once; Infinity where that is not known. */
  limit(): number;
  /** The number that the next one will have. Throws when there is none. */
  lowestFree(): number;
  /** Milliseconds on a clock that does not go back. */
  now(): number;
}

/**
 * Keeps the last descriptors for what the process needs for the connections that it has: another UDP socket when a client moves, files at a reload, names to resolve.
 *
 * The kernel gives out the lowest number that is free. A connection whose number is in the reserve is one too many, and while none of those is kept, the reserve is free.
 */
export class Descriptors {
  readonly #calls: DescriptorCalls;
  #limit = Infinity;
  #askedAt = -Infinity;
  /** Numbers in the reserve have been given out of late. */
  #isTight = false;

  constructor(calls: DescriptorCalls = SYSTEM) {
    this.#calls = calls;
  }

  get limit(): number {
    return this.#limit;
  }

  /** How many are kept back. */
  get reserve(): number {
    return Math.min(MOST_KEPT, Math.floor(this.#limit / KEPT_PART));
  }

  /** Whether a connection that has this descriptor is one too many. */
  isTooMany(descriptor: number): boolean {
    const isTooMany = descriptor >= this.#firstKept();
    this.#isTight ||= isTooMany;
    return isTooMany;
  }

  /** Whether there is none for a connection that has yet to be made. Asks the system only after there was none for another. */
  areShort(): boolean {
    if (!this.#isTight) return false;
    try {
      this.#isTight = this.#calls.lowestFree() >= this.#firstKept();
    } catch {
      // Not even one.
    }
    return this.#isTight;
  }

  /** The system has refused one: EMFILE or ENFILE. */
  handleRefusal(): void {
    this.#isTight = true;
    this.#askedAt = -Infinity;
  }

  #firstKept(): number {
    const now = this.#calls.now();
    if (now - this.#askedAt >= ASK_INTERVAL) {
      this.#askedAt = now;
      this.#limit = this.#calls.limit();
    }
    return this.#limit - this.reserve;
  }
}

/** A TCP socket's descriptor, from Node's inside; -1 when it has none (yet, or any more). */
export function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle: { fd?: number } | null };
  return handle?.fd ?? -1;
}

/** Whether the system has no descriptor for this process, or for anybody. */
export function isOutOfDescriptors(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'EMFILE' || code === 'ENFILE';
}

/** Node itself raises the limit to the hard one when it starts. */
function openFilesLimit(): number {
  try {
    // Kept open: when it is asked for, there may be no descriptor left to open it with.
    limits ??= openSync('/proc/self/limits', 'r');
    const text = LIMITS.toString('latin1', 0, readSync(limits, LIMITS, 0, LIMITS.length, 0));
    const [, soft] = /^Max open files\s+(\d+)/m.exec(text) ?? [];
    return soft === undefined ? known : (known = Number(soft));
  } catch {
    return known;
  }
}

function lowestFree(): number {
  const descriptor = openSync('/dev/null', 'r');
  closeSync(descriptor);
  return descriptor;
}

let limits: number | undefined;
let known = Infinity;
const LIMITS = Buffer.alloc(4096);
const SYSTEM: DescriptorCalls = { limit: openFilesLimit, lowestFree, now: () => performance.now() };
/** A reload of a tunnel takes about ten at once, a client's move three. */
const MOST_KEPT = 64;
/** Where there are few in all: an eighth of them. */
const KEPT_PART = 8;
/** Milliseconds: an operator may raise the limit of a process that runs (prlimit). */
const ASK_INTERVAL = 5_000;
