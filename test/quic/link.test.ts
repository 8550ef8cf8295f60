import { test } from 'tap';
import { connectQuic } from '../../src/quic/connect.ts';
import { listenQuic } from '../../src/quic/listen.ts';
import type { Link } from '../../src/link/link.ts';
import { linkContract, type LinkPair } from '../link/contract.ts';
import { withDeadline } from '../support/deadline.ts';
import { driveOn } from '../support/fake-clock.ts';
import { connectOptions, makeWorld, newKeys, OVER, quicOptions } from './pair.ts';

void test('a QUIC link over real sockets keeps the contract', (t) => {
  linkContract(t, async (options) => {
    const listener = await listenQuic({ host: '127.0.0.1', port: 0 }, newKeys(), quicOptions(options));
    const accepted = new Promise<Link>((resolve) => (listener.onLink = resolve));
    const target = { host: '127.0.0.1', port: listener.address.port, serverName: 'localhost' };
    const client = await connectQuic(target, connectOptions(options), new AbortController().signal);
    const server = await withDeadline(accepted, () => 'the server’s link');
    return { client, server, close: () => end({ client, server }, () => listener.close()) };
  });
  t.end();
});

void test('a QUIC link over a bad network keeps the contract', (t) => {
  const conditions = { delay: 2, loss: 0.01, burst: 2, duplicate: 0.02, reorder: 0.01, corrupt: 0.005 };
  let seed = 0;
  linkContract(t, async (options) => {
    const { world, client, server } = await makeWorld({ seed: seed++, conditions, ...(options && { link: options }) });
    const stop = driveOn(world.clock);
    const pair = { client: client.link, server: server.link };
    return { ...pair, close: () => end(pair, stop) };
  });
  t.end();
});

async function end({ client, server }: Pick<LinkPair, 'client' | 'server'>, last: () => Promise<void>): Promise<void> {
  client.close(OVER);
  server.close(OVER);
  await last();
}
