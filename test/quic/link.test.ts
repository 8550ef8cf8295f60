import { test } from 'tap';
import { connectQuic } from '../../src/quic/connect.ts';
import { listenQuic } from '../../src/quic/listen.ts';
import type { Link } from '../../src/link/link.ts';
import { datagramContract, linkContract, type LinkPair, type MakePair } from '../link/contract.ts';
import { withDeadline } from '../support/deadline.ts';
import { connectOptions, newKeys, OVER, quicOptions } from './pair.ts';

void test('a QUIC link over real sockets keeps the contract', (t) => {
  const makePair: MakePair = async (options) => {
    const listener = await listenQuic({ host: '127.0.0.1', port: 0 }, newKeys(), quicOptions(options));
    const accepted = new Promise<Link>((resolve) => (listener.onLink = resolve));
    const target = { host: '127.0.0.1', port: listener.address.port, serverName: 'localhost' };
    const client = await connectQuic(target, connectOptions(options), new AbortController().signal);
    const server = await withDeadline(accepted, () => 'the server’s link');
    return { client, server, close: () => end({ client, server }, () => listener.close()) };
  };
  linkContract(t, makePair);
  datagramContract(t, makePair);
  t.end();
});

async function end({ client, server }: Pick<LinkPair, 'client' | 'server'>, last: () => Promise<void>): Promise<void> {
  client.close(OVER);
  server.close(OVER);
  await last();
}
