import type { Socket } from 'node:net';
import { test } from 'tap';
import { encodeEndpoints, proxyHeader } from '../../src/protocol/proxy-protocol.ts';
import { eventually } from '../support/deadline.ts';
import { acceptor, dial, receive } from '../support/tcp.ts';
import { client, linkUp, MODES, reload, server } from './tunnels.ts';

const here = (port: number) => ({ host: '127.0.0.1', port });

for (const { name, ...mode } of MODES) {
  void test(`${name}: the backend reads the application's address before the first byte`, async (t) => {
    const { port: backend, accept } = await acceptor(t);
    const far = await server(t, { ...mode, backend: here(backend), proxyProtocol: true });
    const near = await client(t, far.tunnel, mode);
    await linkUp(near);
    const application = await dial(t, near.port);
    const header = headerOf(application);
    const service = await accept();
    t.same(await receive(service, header.length), header, 'it comes without a byte of the application');
    application.write('hello');
    t.equal((await receive(service, 5)).toString(), 'hello');
    service.write('hello yourself');
    t.equal((await receive(application, 14)).toString(), 'hello yourself', 'the other direction has no header');
  });

  void test(`${name}: turned on and off by a reload, for new connections; open ones go on`, async (t) => {
    const { port: backend, accept } = await acceptor(t);
    const far = await server(t, { ...mode, backend: here(backend) });
    const near = await client(t, far.tunnel, mode);
    const link = await linkUp(near);
    t.equal(link.wantsEndpoints, false);
    const old = await dial(t, near.port);
    old.write('old');
    const oldService = await accept();
    t.equal((await receive(oldService, 3)).toString(), 'old', 'no header');
    await reload(far.tunnel, { proxyProtocol: true });
    await eventually('a link of the new kind', () => near.tunnel.uplink.current()?.wantsEndpoints === true);
    const application = await dial(t, near.port);
    const header = headerOf(application);
    t.same(await receive(await accept(), header.length), header);
    old.write('still');
    t.equal((await receive(oldService, 5)).toString(), 'still');
    await reload(far.tunnel, { proxyProtocol: false });
    const last = await dial(t, near.port);
    last.write('last');
    t.equal((await receive(await accept(), 4)).toString(), 'last');
  });
}

/** What the backend of this application's connection is to read first. */
function headerOf({ localAddress, localPort, remoteAddress, remotePort }: Socket): Buffer {
  const source = { host: localAddress!, port: localPort! };
  return Buffer.from(proxyHeader(encodeEndpoints(source, { host: remoteAddress!, port: remotePort! })));
}
