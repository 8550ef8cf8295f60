/** Which of a server's workers, or of two processes that share a port, a connection belongs to. */
export interface Place {
  /** 0 … count - 1. */
  readonly index: number;
  /** 1 … 128. */
  readonly count: number;
}

/**
 * Writes a worker's place into a connection id of random bytes: its first byte modulo `count` is `index`. The kernel gives each packet to the worker
 * that its id names in this way (ports/udp-group.ts), wherever the packet comes from. A client's first id, which is its own choice, names a worker
 * as well.
 */
export function placeId<Id extends Uint8Array>(id: Id, { index, count }: Place): Id {
  id[0] = (id[0]! % Math.floor(256 / count)) * count + index;
  return id;
}

export function placeOf(id: Uint8Array, count: number): number {
  return id[0]! % count;
}

export const ALONE: Place = { index: 0, count: 1 };
