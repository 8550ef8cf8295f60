import { test } from 'tap';
import { cabledNamespaces } from '../support/netns.ts';
import { run } from '../support/process.ts';
import { missingForNamespaces } from '../support/programs.ts';
import { startClient, startServer } from '../support/qtunnel.ts';

const needed = { skip: missingForNamespaces() };

for (const [way, flags] of [
  ['by itself', []],
  ['with workers', ['-workers=2']],
] as const) {
  test(`a server with several addresses is reached over QUIC at each of them, ${way}`, needed, async (t) => {
    const [here, there] = await cabledNamespaces(t);
    for (const [{ name }, address] of [
      [there, '10.77.0.22/24'],
      [here, 'fd77::1/64'],
      [there, 'fd77::2/64'],
      [there, 'fd77::22/64'],
    ] as const) {
      await run(t, 'ip', ['-n', name, 'address', 'add', address, 'dev', 'cable', ...(address.includes(':') ? ['nodad'] : [])]);
    }
    const server = await startServer(t, { mode: 'quic', backend: 9, listen: ':0', prefix: there.prefix, flags: [...flags] });
    const reached = ['10.77.0.2', '10.77.0.22', '[fd77::2]', '[fd77::22]'].map(async (host) => {
      const { process: client } = await startClient(t, {
        mode: 'quic',
        server: `${host}:${server.port}`,
        prefix: here.prefix,
        flags: ['-fallback=false'],
      });
      t.match(await client.event('link_up'), { transport: 'quic' }, host);
    });
    await Promise.all(reached);
  });
}
