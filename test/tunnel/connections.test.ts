import { randomBytes } from 'node:crypto';
import net, { type Socket } from 'node:net';
import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { acceptor, dial, echoes, echoServer, ending, freePort, receive, receiveAll } from '../support/tcp.ts';
import { fullPort } from './full-port.ts';
import { client, clientEntry, credentials, linkUp, MODES, OVER, server } from './tunnels.ts';

const here = (port: number) => ({ host: '127.0.0.1', port });
const nobody = async () => ({ address: here(await freePort()) });

for (const { name, ...mode } of MODES) {
  void test(`${name}: the client’s limit: one more is reset, and one less makes room`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)) });
    const near = await client(t, far.tunnel, { ...mode, maxConnections: 2 });
    const [first, second] = [await dial(t, near.port), await dial(t, near.port)];
    t.ok((await echoes(first, 'one')) && (await echoes(second, 'two')));
    t.equal(await ending(connect(near.port)), 'reset');
    t.ok(near.lines.some(({ event }) => event === 'limit'));
    t.equal(near.tunnel.connections, 2);
    first.end();
    await eventually('room', () => near.tunnel.connections === 1);
    t.ok(await echoes(await dial(t, near.port), 'three'));
    t.ok(await echoes(second, 'still here'));
  });

  void test(`${name}: the server’s limit holds over all its links`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)), maxConnections: 2 });
    const [a, b] = [await client(t, far.tunnel, mode), await client(t, far.tunnel, mode)];
    const [first, second] = [await dial(t, a.port), await dial(t, b.port)];
    t.ok((await echoes(first, 'one')) && (await echoes(second, 'two')));
    t.equal(await ending(await dial(t, b.port)), 'reset');
    await eventually('both logs to say why', () =>
      [far, b].every(({ lines }) => lines.some(({ msg }) => msg.includes('limit of 2'))),
    );
    first.destroy();
    await eventually('room', () => far.tunnel.connections === 1);
    t.ok(await echoes(await dial(t, b.port), 'three'));
  });

  void test(`${name}: a limit for each client: of one address together, of one with a name by itself; who is through makes room`, async (t) => {
    const clients = [clientEntry('laptop'), clientEntry('phone', { maxConnections: 1 })];
    const far = await server(t, { ...mode, backend: here(await echoServer(t)), maxConnectionsPerClient: 2, clients });
    const [a, b] = [await client(t, far.tunnel, mode), await client(t, far.tunnel, mode)];
    const [first, second] = [await dial(t, a.port), await dial(t, b.port)];
    t.ok((await echoes(first, 'one')) && (await echoes(second, 'two')));
    t.equal(await ending(await dial(t, b.port)), 'reset');
    await eventually('both logs to say why', () =>
      [far, b].every(({ lines }) => lines.some(({ msg }) => msg.includes('limit of 2 connections (-max-connections-per-client)'))),
    );
    const laptop = await client(t, far.tunnel, { ...mode, ...credentials('laptop') });
    const phone = await client(t, far.tunnel, { ...mode, ...credentials('phone') });
    for (const [{ port }, most] of [
      [laptop, 2],
      [phone, 1],
    ] as const) {
      for (let n = 0; n < most; n++) t.ok(await echoes(await dial(t, port), 'has its own'));
      t.equal(await ending(await dial(t, port)), 'reset');
    }
    t.equal(far.metrics.limits.get('client_connections'), 3);
    first.destroy();
    await eventually('room', () => far.tunnel.connections === 4);
    t.ok(await echoes(await dial(t, b.port), 'three'));
  });

  void test(`${name}: a limit of links for each client; who goes makes room`, async (t) => {
    const far = await server(t, {
      ...mode,
      backend: here(await echoServer(t)),
      maxLinksPerClient: 2,
      clients: [clientEntry('laptop')],
    });
    const [a, b] = [await client(t, far.tunnel, mode), await client(t, far.tunnel, mode)];
    for (const one of [a, b]) await linkUp(one);
    const third = await client(t, far.tunnel, mode);
    await eventually('it to be refused', () => far.metrics.limits.get('client_links') !== undefined);
    await eventually('it to be told', () =>
      third.lines.some(({ msg }) => msg.includes('limit of 2 links (-max-links-per-client)')),
    );
    t.equal(far.tunnel.links.length, 2);
    await linkUp(await client(t, far.tunnel, { ...mode, ...credentials('laptop') }));
    await a.tunnel.close(OVER);
    await linkUp(third);
    t.ok(await echoes(await dial(t, third.port), 'there is room'));
  });

  void test(`${name}: an application’s reset comes to the backend, and nothing is left`, async (t) => {
    const { port: backend, accept } = await acceptor(t);
    const far = await server(t, { ...mode, backend: here(backend) });
    const near = await client(t, far.tunnel, mode);
    const application = await dial(t, near.port);
    application.write('hello');
    const service = await accept();
    t.equal((await receive(service, 5)).toString(), 'hello');
    application.resetAndDestroy();
    t.equal(await ending(service), 'reset');
    await eventually('no connections', () => near.tunnel.connections === 0 && far.tunnel.connections === 0);
    t.strictSame([near.metrics.opened, near.metrics.closed], [1, 1]);
  });
}

for (const { name, ...mode } of MODES) {
  void test(`${name}: an application that hangs up while the backend is being dialled ends that, too`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await fullPort(t)), dialTimeout: 600_000 });
    const near = await client(t, far.tunnel, mode);
    const dials = () => process.getActiveResourcesInfo().filter((resource) => resource.endsWith('ConnectWrap')).length;
    await linkUp(near);
    const before = dials();
    const application = await dial(t, near.port);
    application.write('hello');
    await eventually('the dial', () => far.tunnel.connections === 1 && dials() === before + 1);
    application.resetAndDestroy();
    await eventually('nothing to be left', () => far.tunnel.connections === 0 && dials() === before);
  });
}

void test('without a link a connection waits up to -dial-timeout and is reset then', async (t) => {
  const near = await client(t, await nobody(), { dialTimeout: 200 });
  const application = await dial(t, near.port);
  application.write('is anybody there?');
  t.equal(await ending(application), 'reset');
  t.equal(near.tunnel.connections, 0);
  t.ok(near.lines.some(({ event, msg }) => event === 'stream_reset' && msg.includes('-dial-timeout')));
});

void test('an application that hangs up while it waits is forgotten', async (t) => {
  const near = await client(t, await nobody(), { dialTimeout: 600_000 });
  const application = await dial(t, near.port);
  await eventually('the connection', () => near.tunnel.connections === 1);
  application.resetAndDestroy();
  await eventually('it to be gone', () => near.tunnel.connections === 0);
});

for (const { name, ...mode } of MODES) {
  void test(`${name}: who waits is carried as soon as there is a link, with all that he said, his end included`, async (t) => {
    const port = await freePort();
    const near = await client(t, { address: here(port) }, { ...mode, dialTimeout: 600_000 });
    const [silent, speaking, ended] = [await dial(t, near.port), await dial(t, near.port), await dial(t, near.port)];
    const words = randomBytes(1024 * 1024);
    speaking.end(words);
    ended.end();
    await eventually('three to wait', () => near.tunnel.connections === 3);
    const far = await server(t, { ...mode, listen: here(port), backend: here(await echoServer(t)) });
    const [answer, nothing] = await Promise.all([receiveAll(speaking), receiveAll(ended)]);
    t.ok(answer.equals(words));
    t.equal(nothing.length, 0);
    t.ok(await echoes(silent, 'now'));
    await eventually('the two that have ended to be gone', () => far.tunnel.connections === 1 && near.tunnel.connections === 1);
  });

  void test(`${name}: a tunnel that is closed resets those that wait`, async (t) => {
    const near = await client(t, await nobody(), { ...mode, dialTimeout: 600_000 });
    const application = await dial(t, near.port);
    await eventually('the connection', () => near.tunnel.connections === 1);
    await near.tunnel.close(OVER);
    t.equal(await ending(application), 'reset');
  });
}

/** A connection that may be reset before it is there. */
function connect(port: number): Socket {
  return net.connect({ ...here(port), allowHalfOpen: true });
}
