import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import type { Test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { cabledNamespaces, distantNamespaces, dropUdp } from '../support/netns.ts';
import type { Namespace } from '../support/netns.ts';
import { run, start } from '../support/process.ts';
import { missingForNamespaces } from '../support/programs.ts';
import { startClient, startServer } from '../support/qtunnel.ts';
import type { Qtunnel } from '../support/qtunnel.ts';

const needed = missingForNamespaces('nft');

test('UDP is dropped from the beginning: TLS carries, and QUIC takes over when UDP passes', { skip: needed }, async (t) => {
  const [here, there] = await cabledNamespaces(t);
  const passUdp = await dropUdp(t, there);
  const { client, port } = await startInNamespaces(t, here, there);
  await client.event('link_up', { transport: 'tls' });
  await carriesOver(t, client, here, port, 'tls');

  await passUdp();
  await client.event('link_up', { transport: 'quic' });
  await carriesOver(t, client, here, port, 'quic');
});

test('UDP stops passing while QUIC is up: new connections go over TLS, then over QUIC again', { skip: needed }, async (t) => {
  const [here, there] = await cabledNamespaces(t);
  const { client, port } = await startInNamespaces(t, here, there, ['-idle-timeout=4s', '-keepalive=500ms']);
  await client.event('link_up', { transport: 'quic' });
  await carriesOver(t, client, here, port, 'quic');

  const passUdp = await dropUdp(t, there);
  await client.event('link_up', { transport: 'tls' });
  await carriesOver(t, client, here, port, 'tls');

  await passUdp();
  await carriesOver(t, client, here, port, 'quic');
});

test('-fallback=false: without UDP there is no link, and connections are reset', { skip: needed }, async (t) => {
  const [here, there] = await cabledNamespaces(t);
  const passUdp = await dropUdp(t, there);
  const { client, port } = await startInNamespaces(t, here, there, ['-fallback=false', '-dial-timeout=1s']);
  await t.rejects(carries(t, here, port), /ECONNRESET/);
  t.same(client.events('link_up'), []);

  await passUdp();
  await client.event('link_up', { transport: 'quic' });
  await carries(t, here, port);
});

test('-transport=auto: on a cable new connections go over TLS as soon as it shows', { skip: needed }, async (t) => {
  const [here, there] = await cabledNamespaces(t);
  const { client, port } = await startInNamespaces(t, here, there, ['-transport=auto']);
  await client.event('transport', { transport: 'tls' });
  await carriesOver(t, client, here, port, 'tls');
  await carries(t, here, port, 5_000_000);
  t.same(client.events('link_moved'), [], 'probes of the MTU that the cable does not carry are no reason to move');
});

test('-transport=auto: on a long path they stay with QUIC', { skip: missingForNamespaces('gcc') }, async (t) => {
  const [here, there] = await distantNamespaces(t, { delay: 10 });
  const { client, port } = await startInNamespaces(t, here, there, ['-transport=auto']);
  for (const transport of ['quic', 'tls']) await client.event('link_up', { transport });
  await carries(t, here, port, 1_000_000);
  await carriesOver(t, client, here, port, 'quic');
  t.same(client.events('transport'), []);
});

test('a path of 50 ms with loss and reordering carries every byte', { skip: missingForNamespaces('gcc') }, async (t) => {
  const [here, there] = await distantNamespaces(t, {
    delay: 25,
    jitter: 5,
    loss: 1,
    reorder: 1,
    dup: 0.5,
    corrupt: 0.1,
    rate: 200,
    queue: 1000,
  });
  const { client, port } = await startInNamespaces(t, here, there);
  await client.event('link_up', { transport: 'quic' });
  await carries(t, here, port, 5_000_000);
});

/** Server and echoing backend in one namespace, client in the other. */
async function startInNamespaces(t: Test, here: Namespace, there: Namespace, clientFlags: readonly string[] = []) {
  const backend = start(t, process.execPath, [helper('echo-server'), '127.0.0.1', '7000'], { prefix: there.prefix });
  await backend.line(/listening/);
  const server = await startServer(t, { mode: 'quic', backend: 7000, listen: `${there.address}:0`, prefix: there.prefix });
  const client = await startClient(t, {
    mode: 'quic',
    server: `${there.address}:${server.port}`,
    prefix: here.prefix,
    flags: clientFlags,
    waitForLink: false,
  });
  return { client: client.process, port: client.port };
}

/** A connection through the tunnel echoes; rejects with what the connection met. */
async function carries(t: Test, here: Namespace, port: number, bytes = 100_000): Promise<void> {
  await run(t, process.execPath, [helper('echo-check'), '127.0.0.1', `${port}`, `${bytes}`], { prefix: here.prefix });
  t.ok(true, `${bytes} bytes came back`);
}

/** Opens connections until one travels on this transport; all of them echo. */
async function carriesOver(t: Test, client: Qtunnel, here: Namespace, port: number, transport: string): Promise<void> {
  await eventually(`a connection over ${transport}`, async () => {
    const seen = client.log.length;
    await carries(t, here, port);
    return (await client.event('stream_open', {}, { skip: seen }))['transport'] === transport;
  });
}

function helper(name: string): string {
  return fileURLToPath(new URL(`../support/bin/${name}.js`, import.meta.url));
}
