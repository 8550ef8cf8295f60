import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../test/support/tcp.ts';
import { makeCertificate } from '../certificate.ts';
import type { Contender, End, Stage } from '../contender.ts';
import { listening } from '../listening.ts';

/** trojan: C++ on Boost.Asio, TLS with a password, one connection for each. */
export const trojan: Contender = {
  name: 'trojan',
  needs: { trojan: 'trojan', openssl: 'openssl' },
  start: async (stage) => {
    const { site, backendPort, folder } = stage;
    const { cert, key } = makeCertificate(folder);
    const [middle, port] = [await freePort(), await freePort()];
    await run(stage, 'server', middle, {
      run_type: 'server',
      local_addr: site.server.address,
      local_port: middle,
      // Where strangers are sent.
      remote_addr: '127.0.0.1',
      remote_port: backendPort,
      ssl: { cert, key, alpn: ['http/1.1'] },
    });
    await run(stage, 'client', port, {
      run_type: 'forward',
      local_addr: '127.0.0.1',
      local_port: port,
      remote_addr: site.server.address,
      remote_port: middle,
      target_addr: '127.0.0.1',
      target_port: backendPort,
      ssl: { verify: true, verify_hostname: true, cert, sni: 'localhost', alpn: ['http/1.1'] },
    });
    return { host: '127.0.0.1', port };
  },
};

async function run({ folder, run: start }: Stage, end: End, port: number, settings: object): Promise<void> {
  const file = join(folder, `${end}.json`);
  writeFileSync(file, JSON.stringify({ password: ['of the bench'], log_level: WARNINGS, tcp: { no_delay: true }, ...settings }));
  await listening(start(end, 'trojan', ['-c', file]), port);
}

const WARNINGS = 2;
