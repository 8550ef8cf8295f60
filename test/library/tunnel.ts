import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import { type ServerOptions, startClient, startServer, type TunnelClient, type TunnelServer } from '../../src/index.ts';
import type { ClientOptions } from '../../src/index.ts';
import { serverFolder } from '../support/server-folder.ts';
import type { Mode } from '../support/qtunnel.ts';
import { freePort } from '../support/tcp.ts';

/** A certificate that the servers of one file share: making one takes a while. */
const stateDirs = new Map<Test, string>();

export const SECRET = 'the secret of the tests';

export interface Pair {
  readonly server: TunnelServer;
  readonly client: TunnelClient;
}

/** A server in this process in front of a backend on this port, closed when the test ends. */
export async function server(t: Test, mode: Mode, backend: number, options: ServerOptions = {}): Promise<TunnelServer> {
  const running = await startServer({
    listen: { host: '127.0.0.1', port: await freePort() },
    backend: { host: '127.0.0.1', port: backend },
    quic: mode === 'quic',
    fallback: false,
    secret: SECRET,
    stateDir: stateDir(t),
    ...options,
  });
  t.teardown(() => running.close());
  return running;
}

/** A client without a local port unless told otherwise, closed when the test ends. */
export async function client(t: Test, mode: Mode, to: TunnelServer, options: ClientOptions = {}): Promise<TunnelClient> {
  const running = await startClient({ ...clientOptions(mode, to), ...options });
  t.teardown(() => running.close());
  return running;
}

export async function pair(t: Test, mode: Mode, backend: number): Promise<Pair> {
  const running = await server(t, mode, backend);
  return { server: running, client: await client(t, mode, running) };
}

/** A connection that may still be open when its tunnel is closed at the test's end, which is an error for it. */
export async function open(tunnel: TunnelClient): Promise<Duplex> {
  const duplex = await tunnel.connect();
  return duplex.on('error', () => {});
}

export function clientOptions(mode: Mode, to: Pick<TunnelServer, 'address'>) {
  return { backend: to.address, quic: mode === 'quic', fallback: false, secret: SECRET };
}

function stateDir(t: Test): string {
  const folder = stateDirs.get(t) ?? serverFolder(t);
  stateDirs.set(t, folder);
  return folder;
}
