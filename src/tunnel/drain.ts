import type { Link } from '../link/link.ts';
import type { Connections } from './connections.ts';
import type { WatchedSet } from './watched-set.ts';

/**
 * Waits for the connections to end, up to `timeout` milliseconds, and then within what is left of it for the draining links to close by
 * themselves: a connection has ended here when its last bytes were handed to the link, and the link closes when the peer has them.
 * @param draining the links, which drain by then.
 * @returns whether the connections ended.
 */
export async function drained(connections: Connections, timeout: number, draining: () => WatchedSet<Link>): Promise<boolean> {
  const deadline = performance.now() + timeout;
  const ended = await connections.emptied(timeout);
  if (ended) await draining().emptied(Math.max(0, deadline - performance.now()));
  return ended;
}
