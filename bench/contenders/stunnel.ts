import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../test/support/tcp.ts';
import { makeCertificate } from '../certificate.ts';
import type { Contender, End, Stage } from '../contender.ts';
import { listening } from '../listening.ts';

/** TLS in C, one connection for each: the distance to a tunnel that does the least. */
export const stunnel: Contender = {
  name: 'stunnel',
  needs: { stunnel: 'stunnel4', openssl: 'openssl' },
  start: async (stage) => {
    const { site, backendPort, folder } = stage;
    const { cert, key } = makeCertificate(folder);
    const [middle, port] = [await freePort(), await freePort()];
    const address = `${site.server.address}:${middle}`;
    await run(stage, 'server', middle, [
      `cert = ${cert}`,
      `key = ${key}`,
      `accept = ${address}`,
      `connect = 127.0.0.1:${backendPort}`,
    ]);
    const trust = [`CAfile = ${cert}`, 'verifyChain = yes', 'checkHost = localhost'];
    await run(stage, 'client', port, ['client = yes', ...trust, `accept = 127.0.0.1:${port}`, `connect = ${address}`]);
    return { host: '127.0.0.1', port };
  },
};

async function run({ folder, run: start }: Stage, end: End, port: number, service: readonly string[]): Promise<void> {
  const file = join(folder, `${end}.conf`);
  writeFileSync(file, [...COMMON, `[${end}]`, 'sslVersion = TLSv1.3', ...service, ''].join('\n'));
  await listening(start(end, 'stunnel', [file]), port);
}

const COMMON = ['foreground = yes', 'pid =', 'debug = warning', 'socket = l:TCP_NODELAY=1', 'socket = r:TCP_NODELAY=1'];
