import { freePort } from '../../test/support/tcp.ts';
import type { Contender } from '../contender.ts';
import { listening } from '../listening.ts';

/** shadowsocks-libev: C on libev, one thread, an AEAD with a shared password, one TCP connection for each. */
export const shadowsocks: Contender = {
  name: 'shadowsocks',
  needs: { 'ss-server': 'shadowsocks-libev', 'ss-tunnel': 'shadowsocks-libev' },
  start: async ({ site, backendPort, run }) => {
    const [middle, port] = [await freePort(), await freePort()];
    const shared = ['-s', site.server.address, '-p', `${middle}`, '-k', 'of the bench', '-m', 'aes-256-gcm', '--no-delay'];
    const many = ['-n', '65536', '-t', '600'];
    await listening(run('server', 'ss-server', [...shared, ...many]), middle);
    const tunnel = ['-b', '127.0.0.1', '-l', `${port}`, '-L', `127.0.0.1:${backendPort}`];
    await listening(run('client', 'ss-tunnel', [...shared, ...many, ...tunnel]), port);
    return { host: '127.0.0.1', port };
  },
};
