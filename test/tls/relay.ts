import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import { QtunnelError } from '../../src/errors.ts';
import { LinkRecorder } from '../link/recorder.ts';
import { connectHere, linkOptions, listenHere, nextLink } from './pair.ts';

export interface Relay {
  readonly port: number;
  /** The client's and the server's end of each connection, oldest first. */
  readonly connections: { readonly client: Socket; readonly server: Socket }[];
  /** Takes no further connections. */
  refuse(): void;
  /** Nothing of further connections passes, as behind a firewall that drops them; those that are held back, oldest first. Until `letPass`. */
  holdBack(): readonly Socket[];
  letPass(): void;
}

/** Passes TCP connections on to `port`, so that a test can cut the way. Ends with the test. */
export async function relayTo(t: Test, port: number): Promise<Relay> {
  const connections: Relay['connections'] = [];
  let held: Socket[] | null = null;
  const pass = (client: Socket): void => {
    const server = connect(port, '127.0.0.1');
    connections.push({ client, server });
    client.pipe(server).pipe(client);
    client.on('error', () => {});
    server.on('error', () => {});
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  };
  const relay = createServer((client) => {
    if (held === null) return pass(client);
    held.push(client);
    client.on('error', () => {});
  });
  t.teardown(() => {
    relay.close();
    for (const client of held ?? []) client.destroy();
    for (const { client, server } of connections) {
      client.destroy();
      server.destroy();
    }
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return {
    port: (relay.address() as AddressInfo).port,
    connections,
    refuse: () => void relay.close(),
    holdBack: () => (held = []),
    letPass: () => {
      const waiting = held ?? [];
      held = null;
      waiting.forEach(pass);
    },
  };
}

/** A link whose TCP connections can be cut, and whose server may open streams; without lanes each of the client's has one of them from the beginning. */
export async function relayedPair(
  t: Test,
  { lane = true } = {},
): Promise<{ client: LinkRecorder; server: LinkRecorder; relay: Relay }> {
  const listener = await listenHere(linkOptions({ lane, serverOpens: true }));
  const relay = await relayTo(t, listener.address.port);
  const accepted = nextLink(listener);
  const client = await connectHere(relay.port, { serverOpens: true });
  const server = await accepted;
  t.teardown(async () => {
    for (const link of [client, server]) link.close(new QtunnelError('LINK_CLOSED', 'The test is over.'));
    await listener.close();
  });
  return { client: new LinkRecorder(client), server: new LinkRecorder(server), relay };
}
