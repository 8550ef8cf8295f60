import type { Contender } from '../contender.ts';
import type { TcpCongestion } from '../site.ts';

/** No tunnel: what the machine or the path can do. */
export function direct(name: string, tcpCongestion?: TcpCongestion): Contender {
  return {
    name,
    needs: {},
    ...(tcpCongestion && { tcpCongestion }),
    start: ({ site, backendPort }) => Promise.resolve({ host: site.server.address, port: backendPort }),
  };
}
