import { existsSync } from 'node:fs';
import { COMMAND, Qtunnel } from '../../test/support/qtunnel.ts';
import { assemble } from '../assemble.ts';
import type { Contender } from '../contender.ts';

/** The built command at both ends, in the mode that these flags choose. */
export function qtunnel(name: string, mode: readonly string[]): Contender {
  return {
    name,
    available: () => (existsSync(COMMAND) ? null : 'qtunnel is not built'),
    start: (backendPort) =>
      assemble(async ({ folder, add }) => {
        const run = (flags: readonly string[]) => {
          const args = [COMMAND, '-log-format=json', `-state-dir=${folder}`, ...mode, ...flags];
          return add(new Qtunnel(process.execPath, args, { env: { QTUNNEL_SECRET: 'of the bench' } }));
        };
        const server = run(['-listen=127.0.0.1:0', `-backend=127.0.0.1:${backendPort}`]);
        const { tcp: address } = await server.event('listening');
        const client = run(['-clientmode', '-listen=127.0.0.1:0', `-backend=${String(address)}`]);
        const { tcp: local } = await client.event('listening');
        await client.event('link_up');
        return Number(String(local).split(':').at(-1));
      }),
  };
}
