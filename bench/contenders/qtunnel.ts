import { existsSync } from 'node:fs';
import { COMMAND, Qtunnel } from '../../test/support/qtunnel.ts';
import { freePort } from '../../test/support/tcp.ts';
import type { Contender, End } from '../contender.ts';

/** The built command at both ends, in the mode that these flags choose. */
export function qtunnel(name: string, mode: readonly string[]): Contender {
  return {
    name,
    needs: {},
    absence: () => (existsSync(COMMAND) ? null : 'not built: npm run build'),
    start: async ({ site, backendPort, folder, add }) => {
      const run = (end: End, flags: readonly string[]) => {
        const args = [COMMAND, '-log-format=json', `-state-dir=${folder}/${end}`, MANY, ...mode, ...flags];
        return add(end, (options) => new Qtunnel(process.execPath, args, { ...options, env: { QTUNNEL_SECRET: 'of the bench' } }));
      };
      const [middle, port] = [`${site.server.address}:${await freePort()}`, await freePort()];
      const server = run('server', [`-listen=${middle}`, `-backend=127.0.0.1:${backendPort}`]);
      await server.event('listening');
      const client = run('client', ['-clientmode', `-listen=127.0.0.1:${port}`, `-backend=${middle}`]);
      await client.event('listening');
      await client.event('link_up');
      return { host: '127.0.0.1', port };
    },
  };
}

/** For 10,000 connections at once and a few besides. */
const MANY = '-max-connections=20000';
