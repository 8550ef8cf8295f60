import type { Duplex } from 'node:stream';
import { asQtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import { startClientTunnel } from '../tunnel/client.ts';
import { NO_EVENTS } from '../tunnel/events.ts';
import type { RunningSettings } from '../tunnel/tunnel.ts';
import { libraryContext } from './context.ts';
import { startUnlessAborted } from './lifetime.ts';
import { LinkWatch } from './link-watch.ts';
import { openDuplex } from './open-duplex.ts';
import { clientSettings, type ConnectOptions } from './options.ts';

/**
 * Opens a single connection to the server's backend over a link of its own, which ends with the connection. For more than one connection
 * `startClient` and its `connect()` are cheaper. Resolves when the server has proven itself and the connection is on its way; what becomes of
 * it later, a refused backend included, is the stream's `error`. The signal cuts it off, open or not.
 * @throws QtunnelError as `startClient`; why the server refused (`AUTH_…`, `CERT_…`, `VERSION_MISMATCH`, …) or could not be reached
 *   (`LINK_REFUSED`, `LINK_TIMEOUT`, `NAME_NOT_FOUND`), after one attempt with each transport or `dialTimeout`, whichever is first.
 */
export async function connect(options: ConnectOptions): Promise<Duplex> {
  const { signal } = options;
  const settings = clientSettings(options);
  const watch = new LinkWatch(NO_EVENTS);
  const context = libraryContext(settings.tag, options, watch);
  const tunnel = await startUnlessAborted(signal, () => startClientTunnel(settings, context));
  try {
    const duplex = await openDuplex(tunnel, { watch, once: transportsOf(settings), signal, stopping: undefined });
    // The link goes once the peer has everything that was written.
    return duplex.once('close', () => tunnel.uplink.stop());
  } catch (error) {
    await tunnel.close(asQtunnelError(error));
    throw error;
  }
}

function transportsOf({ quic, fallback }: RunningSettings): Link['transport'][] {
  if (!quic) return ['tls'];
  return fallback ? ['quic', 'tls'] : ['quic'];
}
