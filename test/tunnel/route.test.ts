import dns from 'node:dns/promises';
import { syncBuiltinESMExports } from 'node:module';
import { mock } from 'node:test';
import { type Test, test } from 'tap';
import type { Connect } from '../../src/tunnel/uplink.ts';
import { loadRoute } from '../../src/tunnel/route.ts';
import { OWN } from '../../src/tunnel/supplies.ts';
import { tunnelSettings, watched } from './tunnels.ts';

void test('a name for which the system never finds an address: the attempt fails, and can be given up', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const { tls } = await connectTo(t, () => new Promise(() => {}));
  const late = tls!(new AbortController().signal);
  const givenUp = new AbortController();
  const early = tls!(givenUp.signal);
  givenUp.abort();
  await t.rejects(early, { code: 'ABORTED' });
  mock.timers.tick(10_000);
  await t.rejects(late, { code: 'NAME_NOT_FOUND', cause: { message: /no answer within 10 s/ } });
});

/** How a client of `backend.example` makes links, where names are resolved so. */
async function connectTo(t: Test, lookup: () => Promise<never>): Promise<Connect> {
  const real = dns.lookup;
  Object.assign(dns, { lookup });
  syncBuiltinESMExports();
  t.teardown(() => {
    Object.assign(dns, { lookup: real });
    syncBuiltinESMExports();
  });
  const settings = tunnelSettings(t, { clientmode: true, quic: false, backend: { host: 'backend.example', port: 1 } });
  const { ways } = await loadRoute(settings, watched().context, OWN);
  return ways[0]!.connect;
}
