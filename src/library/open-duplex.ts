import type { Duplex } from 'node:stream';
import { QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import type { ResetReason } from '../protocol/reset.ts';
import type { ClientTunnel } from '../tunnel/client.ts';
import { throttled } from '../tunnel/bandwidth.ts';
import { ConnectionLog } from '../tunnel/connection-log.ts';
import type { TunnelConnection } from '../tunnel/connections.ts';
import { newTag } from '../tunnel/tag.ts';
import { onAbort } from './abort.ts';
import { LinkDuplex, resetError } from './duplex.ts';
import { type LinkWait, waitForLink } from './link-watch.ts';

export interface DuplexRequest extends Pick<LinkWait, 'watch' | 'once'> {
  /** The user's: cuts the connection off, open or not. */
  readonly signal: AbortSignal | undefined;
  /** The server's backend for this connection; the tunnel's own when left out. */
  readonly target?: string | undefined;
  /** The tunnel's: an open connection is ended by the tunnel itself. */
  readonly stopping: AbortSignal | undefined;
}

/** Opens a connection on the tunnel's link, waiting for one up to `dialTimeout`. @throws QtunnelError why it could not. */
export async function openDuplex(tunnel: ClientTunnel, { watch, once, signal, stopping, target }: DuplexRequest): Promise<Duplex> {
  const { maxConnections, dialTimeout } = tunnel.settings;
  const { connections } = tunnel.surroundings;
  if (connections.size >= maxConnections) {
    throw new QtunnelError('STREAM_LIMIT', `${maxConnections} connections are open, which is the limit (maxConnections).`);
  }
  const connection = new DuplexConnection();
  connections.add(connection);
  try {
    const signals = [signal, stopping, connection.cancelled];
    const link = await waitForLink(tunnel, { watch, once, timeout: dialTimeout, signals });
    const duplex = connection.open(tunnel, link, target);
    const forget = onAbort([signal], (reason) => duplex.destroy(reason));
    return duplex.once('close', forget);
  } catch (error) {
    connections.delete(connection);
    throw error;
  }
}

/** One connection, from the wish for it to its end. */
class DuplexConnection implements TunnelConnection {
  readonly #cancel = new AbortController();
  #duplex: LinkDuplex | null = null;

  get cancelled(): AbortSignal {
    return this.#cancel.signal;
  }

  open(
    { surroundings: { context, connections, target, bandwidth } }: ClientTunnel,
    link: Link,
    chosen: string | undefined,
  ): LinkDuplex {
    const tag = newTag();
    const stream = link.open({ tag, target: chosen ?? target });
    const log = new ConnectionLog(context, tag, link);
    this.#duplex = new LinkDuplex(throttled(stream, [bandwidth]), {
      onSent: (bytes) => log.sent(bytes),
      onReceived: (bytes) => log.received(bytes),
      onEnd: (reason, message) => {
        log.closed(reason, message);
        connections.delete(this);
      },
    });
    return this.#duplex;
  }

  abort(reason: ResetReason, message: string): void {
    this.#cancel.abort(resetError(reason, message));
    this.#duplex?.abort(reason, message);
  }
}
