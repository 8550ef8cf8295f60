import { freePort } from '../../test/support/tcp.ts';
import type { Contender } from '../contender.ts';
import { listening } from '../listening.ts';

/** kcptun (Go): all connections in one KCP connection over UDP, with parity (10 + 3) and hardly any congestion control. */
export const kcptun: Contender = {
  name: 'kcptun',
  needs: { 'kcptun-server': 'kcptun', 'kcptun-client': 'kcptun' },
  start: async ({ site, backendPort, run }) => {
    const [middle, port] = [await freePort(), await freePort()];
    const address = `${site.server.address}:${middle}`;
    const shared = ['--key', 'of the bench', '--nocomp', '--quiet', '--sndwnd', WINDOW, '--rcvwnd', WINDOW];
    const server = run('server', 'kcptun-server', ['--listen', address, '--target', `127.0.0.1:${backendPort}`, ...shared]);
    await listening(server, middle, 'udp');
    const client = run('client', 'kcptun-client', ['--localaddr', `127.0.0.1:${port}`, '--remoteaddr', address, ...shared]);
    await listening(client, port);
    return { host: '127.0.0.1', port };
  },
};

/** Packets of 1,350 bytes; the server's default. The client's of 128 up and 512 down would not fill a path of 100 Mbit/s and 50 ms. */
const WINDOW = '1024';
