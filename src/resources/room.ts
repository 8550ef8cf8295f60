import type { Socket } from 'node:net';
import { descriptorOf, Descriptors } from './descriptors.ts';

/** What there may be too little of for one more connection. */
export type Resource = 'descriptors';

export interface Shortage {
  readonly resource: Resource;
  /** What ran out and what to do about it. */
  readonly message: string;
}

/** Whether the process has what one more connection takes. The connections that are open are never asked about. */
export class Room {
  readonly descriptors: Descriptors;

  constructor(descriptors = new Descriptors()) {
    this.descriptors = descriptors;
  }

  /** For a connection that has been accepted or dialled; `due` descriptors more belong to others already. */
  shortageFor(socket: Socket, due = 0): Shortage | null {
    return this.descriptors.isTooMany(descriptorOf(socket) + due) ? this.#outOfDescriptors() : null;
  }

  /** For a connection that would need a descriptor. */
  shortage(): Shortage | null {
    return this.descriptors.areShort() ? this.#outOfDescriptors() : null;
  }

  #outOfDescriptors(): Shortage {
    const { limit, reserve } = this.descriptors;
    const message = `the process may have ${limit} file descriptors, and all but the ${reserve} that are kept for open connections are in use; raise "ulimit -n" (systemd: LimitNOFILE)`;
    return { resource: 'descriptors', message };
  }
}

/** The process's own: descriptors are shared by all its tunnels. */
export const ROOM = new Room();
