// The process of one part of a bench: what a user runs as a process of its own stays one, so that it does not share its thread with the load.
import { createLog } from '../observe/log.ts';
import { asQtunnelError, QtunnelError } from '../errors.ts';
import type { Link } from '../link/link.ts';
import { LinkWatch, waitForLink } from '../library/link-watch.ts';
import { libraryContext } from '../library/context.ts';
import { NO_EVENTS, type TunnelEvents } from '../tunnel/events.ts';
import type { Order, Ready, Role, Told } from './children.ts';

process.title = 'qtunnel bench';
// A terminal sends these to all of its processes; this one ends when its parent has let it go.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});

let end: () => Promise<void> | void = () => {};
process.once('disconnect', () => {
  setTimeout(() => process.exit(), LONGEST_CLOSE_MS);
  void Promise.resolve(end()).finally(() => process.exit());
});
process.once('message', (order: Order) => {
  BEGIN[order.role](order as never).then(
    (ready) => tell({ kind: 'ready', ready }),
    (error) => {
      const { code, message } = asQtunnelError(error);
      tell({ kind: 'failed', code, message });
    },
  );
});

const BEGIN: { readonly [R in Role]: (order: Extract<Order, { role: R }>) => Promise<Ready[R]> } = {
  async backend({ direct }) {
    const { startBackend } = await import('./backend.ts');
    const backend = await startBackend(direct);
    end = () => backend.close();
    return { port: backend.port, directPort: backend.directPort };
  },

  async server({ settings, log: ofLog }) {
    const { startServerTunnel } = await import('../tunnel/server.ts');
    const { log } = await createLog(ofLog);
    const tunnel = await startServerTunnel(settings, libraryContext(settings.tag, { log }, TELLING));
    end = () => tunnel.close(STOPPED);
    return { address: tunnel.address, fingerprint: tunnel.fingerprint };
  },

  async client({ settings }) {
    const { startClientTunnel } = await import('../tunnel/client.ts');
    const watch = new LinkWatch(TELLING);
    const tunnel = await startClientTunnel(settings, libraryContext(settings.tag, {}, watch));
    end = () => tunnel.close(STOPPED);
    const once = [settings.quic ? 'quic' : 'tls'] as const;
    await waitForLink(tunnel, { watch, once, timeout: settings.dialTimeout, signals: [] });
    return { port: tunnel.address!.port };
  },
};

function tellOfLink(link: Link, state: 'up' | 'down', reason: string): void {
  tell({ kind: 'link', state, peer: link.peer, transport: link.transport, reason });
}

function tell(told: Told): void {
  // With nobody to call back a parent that is gone would be an error of the process's.
  if (process.connected) process.send?.(told, () => {});
}

const TELLING: TunnelEvents = {
  ...NO_EVENTS,
  onLinkUp: (link) => tellOfLink(link, 'up', ''),
  onLinkDown: (link, reason) => tellOfLink(link, 'down', reason.message),
};
const STOPPED = new QtunnelError('SHUTTING_DOWN', 'The bench is over.');
const LONGEST_CLOSE_MS = 1000;
