import type { Contender } from '../contender.ts';

/** No tunnel: what the machine and iperf3 can do. */
export const direct: Contender = {
  name: 'direct TCP',
  available: () => null,
  start: async (backendPort) => ({ port: backendPort, pids: [], stop: async () => {} }),
};
