import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Program, run } from '../../test/support/process.ts';
import type { Contender } from '../contender.ts';
import { listening } from '../listening.ts';

/** HAProxy in TCP mode, the relay that people run for this: C, a thread for each core, splice() where it can. */
export const haproxy: Contender = {
  name: 'haproxy',
  needs: { haproxy: 'haproxy' },
  start: async ({ site: { client, server }, backendPort, folder, run: start }) => {
    const file = join(folder, 'haproxy.cfg');
    const timeouts = ['connect 10s', 'client 1h', 'server 1h'].map((timeout) => `  timeout ${timeout}`);
    const service = ['listen bench', `  bind :${PORT}`, `  server inside ${server.address}:${backendPort}`];
    const lines = ['global', '  maxconn 4000', 'defaults', '  mode tcp', '  option splice-auto', ...timeouts, ...service, ''];
    writeFileSync(file, lines.join('\n'));
    // -db: in the foreground, one process.
    await listening(start('client', 'haproxy', ['-db', '-f', file]), PORT);
    return { host: client.address, port: PORT };
  },
};

/** Destination NAT: the kernel changes the address of each packet and forwards it. It is no process, so its CPU time is nobody's. */
export const nftables: Contender = {
  name: 'nftables DNAT',
  needs: { nft: 'nftables' },
  start: async ({ site: { client, server }, backendPort, owner }) => {
    const rule = `tcp dport ${PORT} dnat to ${server.address}:${backendPort}`;
    const chain = `chain in { type nat hook prerouting priority dstnat; iifname "outside" ${rule}; }`;
    await run(owner, 'nft', [`table ip bench { ${chain}; }`], { prefix: client.prefix });
    owner.teardown(() => new Program('nft', ['delete', 'table', 'ip', 'bench'], { prefix: client.prefix }).end());
    return { host: client.address, port: PORT };
  },
};

/** In a namespace where nobody else has it. */
const PORT = 10022;
