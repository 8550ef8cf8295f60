import { test } from 'tap';
import { eventually } from '../support/deadline.ts';
import { dial, echoes, echoServer, ending } from '../support/tcp.ts';
import { client, clientEntry, credentials, linkUp, MODES, OVER, reload, server } from './tunnels.ts';

const here = (port: number) => ({ host: '127.0.0.1', port });

for (const { name, ...mode } of MODES) {
  void test(`${name}: each client has its own secret; a removed one is cut off at once, the others stay`, async (t) => {
    const far = await server(t, {
      ...mode,
      backend: here(await echoServer(t)),
      clients: [clientEntry('laptop'), clientEntry('phone')],
    });
    const [laptop, phone, nameless] = await Promise.all([
      client(t, far.tunnel, { ...mode, ...credentials('laptop') }),
      client(t, far.tunnel, { ...mode, ...credentials('phone') }),
      client(t, far.tunnel, mode),
    ]);
    const [first, second, third] = [await dial(t, laptop.port), await dial(t, phone.port), await dial(t, nameless.port)];
    for (const socket of [first, second, third]) t.ok(await echoes(socket, 'hello'));
    t.match(
      far.lines.find(({ event, msg }) => event === 'link_up' && msg.includes('laptop')),
      { client: 'laptop' },
    );
    t.match(far.metrics.clients.get('laptop'), { opened: 1, closed: 0, sent: 5, received: 5 });
    t.same([...far.metrics.clients.keys()].toSorted(), ['laptop', 'phone']);

    await reload(far.tunnel, { clients: [clientEntry('phone')] });
    t.equal(await ending(first), 'reset');
    t.match(
      far.lines.find(({ event }) => event === 'link_down'),
      { client: 'laptop', code: 'AUTH_REJECTED' },
    );
    await eventually('it is turned away', () => far.metrics.handshakeFailures.get('AUTH_REJECTED') !== undefined);
    t.ok(await echoes(second, 'still here'));
    t.ok(await echoes(third, 'and here'));
    t.equal(far.metrics.clients.get('laptop')?.closed, 1);
  });

  void test(`${name}: another’s secret, another’s name, and the secret of those without a name are refused`, async (t) => {
    const far = await server(t, { ...mode, clients: [clientEntry('laptop'), clientEntry('phone')] });
    const wrong = [
      { clientName: 'laptop', secret: 'of phone' },
      { clientName: 'laptop', secret: 'the secret of the tests' },
      { clientName: 'nobody', secret: 'the secret of the tests' },
      { clientName: 'nobody', secret: 'of laptop' },
      { secret: 'of laptop' },
    ];
    for (const settings of wrong) {
      const before = far.metrics.handshakeFailures.get('AUTH_REJECTED') ?? 0;
      const near = await client(t, far.tunnel, { ...mode, ...settings });
      await eventually('it is refused', () => (far.metrics.handshakeFailures.get('AUTH_REJECTED') ?? 0) > before);
      t.equal(near.tunnel.uplink.current(), null);
      await near.tunnel.close(OVER);
    }
    t.equal(far.tunnel.links.length, 0);
  });

  void test(`${name}: without a secret for those without a name there are only named clients`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)), secret: null, clients: [clientEntry('laptop')] });
    const nameless = await client(t, far.tunnel, { ...mode, secret: null, insecure: true });
    await eventually('it is refused', () => far.metrics.handshakeFailures.get('AUTH_REJECTED') !== undefined);
    t.equal(nameless.tunnel.uplink.current(), null);
    const laptop = await client(t, far.tunnel, { ...mode, ...credentials('laptop') });
    t.ok(await echoes(await dial(t, laptop.port), 'hello'));
    t.notOk(far.lines.some(({ msg }) => msg.includes('whoever reaches')));
    t.ok(far.lines.some(({ msg }) => msg.includes('-client-name=NAME')));
  });

  void test(`${name}: rights: which backends, and how many connections; a change counts for new ones`, async (t) => {
    const echo = here(await echoServer(t));
    const backends = { web: echo, ssh: echo };
    const rights = { backends: ['web'], maxConnections: 2 };
    const far = await server(t, {
      ...mode,
      backend: echo,
      backends,
      clients: [clientEntry('laptop', rights), clientEntry('phone')],
    });
    const laptop = await client(t, far.tunnel, { ...mode, ...credentials('laptop'), target: 'web' });
    const phone = await client(t, far.tunnel, { ...mode, ...credentials('phone'), target: 'ssh' });
    await linkUp(phone);
    const open = [await dial(t, laptop.port), await dial(t, laptop.port)];
    for (const socket of open) t.ok(await echoes(socket, 'hello'));
    t.equal(await ending(await dial(t, laptop.port)), 'reset', 'one too many');
    t.match(far.lines.at(-1), { event: 'limit', client: 'laptop', msg: /limit of 2 connections/ });
    t.ok(await echoes(await dial(t, phone.port), 'others have their own limit'));
    open[0]!.end();
    await eventually('room', () => far.metrics.clients.get('laptop')?.closed === 1);
    t.ok(await echoes(await dial(t, laptop.port), 'hello again'));

    await reload(far.tunnel, { clients: [clientEntry('laptop', { backends: ['ssh', 'default'] }), clientEntry('phone')] });
    t.ok(await echoes(open[1]!, 'what is open stays'));
    t.equal(await ending(await dial(t, laptop.port)), 'reset', 'not its backend any more');
    t.match(laptop.lines.filter(({ event }) => event === 'stream_reset').at(-1), {
      reason: 'NO_BACKEND',
      msg: /no backend "web" to this client/,
    });
    for (const target of ['ssh', null]) {
      await reload(laptop.tunnel, { target });
      t.ok(await echoes(await dial(t, laptop.port), `to ${target}`));
    }
  });

  void test(`${name}: a client’s secret is changed in two steps, and nothing breaks`, async (t) => {
    const far = await server(t, { ...mode, backend: here(await echoServer(t)), clients: [clientEntry('laptop')] });
    const near = await client(t, far.tunnel, { ...mode, ...credentials('laptop') });
    const old = await dial(t, near.port);
    t.ok(await echoes(old, 'hello'));
    await reload(far.tunnel, { clients: [{ ...clientEntry('laptop'), secret: 'another' }] });
    t.ok(await echoes(old, 'a link that is up stays up'));
    await reload(near.tunnel, { secret: 'another' });
    t.ok(await echoes(await dial(t, near.port), 'a new link'));
    t.ok(await echoes(old, 'and the old one'));
  });
}

void test('rights to a backend that is not there are warned of', async (t) => {
  const far = await server(t, { clients: [clientEntry('laptop', { backends: ['wbe', 'default'] })] });
  t.ok(far.lines.some(({ msg }) => msg === '-clients: laptop may reach the backend wbe, which -backend does not have'));
  t.notOk(far.lines.some(({ msg }) => msg.includes('default')));
});
