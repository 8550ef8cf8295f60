import type { Socket } from 'node:net';
import { descriptorOf, Descriptors } from './descriptors.ts';
import { Memory } from './memory.ts';

/** What there may be too little of for one more connection. */
export type Resource = 'descriptors' | 'memory';

export interface Shortage {
  readonly resource: Resource;
  /** What ran out and what to do about it. */
  readonly message: string;
}

/** Whether the process has what one more connection takes. The connections that are open are never asked about. */
export class Room {
  readonly descriptors: Descriptors;
  readonly memory: Memory;

  constructor(descriptors = new Descriptors(), memory = new Memory()) {
    this.descriptors = descriptors;
    this.memory = memory;
  }

  /** Of descriptors, for a connection that has been accepted or dialled; `due` more belong to others already. */
  descriptorShortageFor(socket: Socket, due = 0): Shortage | null {
    return this.descriptors.isTooMany(descriptorOf(socket) + due) ? this.#outOfDescriptors() : null;
  }

  /** Of descriptors, for a connection that would need one. */
  descriptorShortage(): Shortage | null {
    return this.descriptors.areShort() ? this.#outOfDescriptors() : null;
  }

  /** Of memory, for whatever is to live for a while. */
  memoryShortage(): Shortage | null {
    return this.memory.isShort() ? this.#outOfMemory() : null;
  }

  #outOfDescriptors(): Shortage {
    const { limit, reserve } = this.descriptors;
    const message = `the process may have ${limit} file descriptors, and all but the ${reserve} that are kept for open connections are in use; raise "ulimit -n" (systemd: LimitNOFILE)`;
    return { resource: 'descriptors', message };
  }

  #outOfMemory(): Shortage {
    const { resident, cap } = this.memory;
    const message = `the process has ${mebibytes(resident)} of the ${mebibytes(cap)} of memory that it may have (-max-memory); raise that, or lower -max-connections or -buffer`;
    return { resource: 'memory', message };
  }
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)}M`;
}

/** The process's own: descriptors and memory are shared by all its tunnels. */
export const ROOM = new Room();
