import { EventEmitter, once } from 'node:events';
import { createSocket } from 'node:dgram';
import { type Test, test } from 'tap';
import { connect, type LinkInfo } from '../../src/index.ts';
import { withDeadline } from '../support/deadline.ts';
import { MODES } from '../support/qtunnel.ts';
import { acceptor, echoServer, ending, freePort, listen, receive, receiveAll, receiveSummed, sendSummed } from '../support/tcp.ts';
import { clientOptions, server } from './tunnel.ts';

for (const mode of MODES) {
  test(`${mode}: one connection, whose link goes when it has ended`, async (t) => {
    const near = await server(t, mode, await echoServer(t));
    const down = once(near, 'linkDown') as Promise<[LinkInfo]>;
    const duplex = await connect(clientOptions(mode, near));
    t.equal(near.links.length, 1);
    duplex.end('hello');
    t.equal((await receiveAll(duplex)).toString(), 'hello');
    await withDeadline(down, () => "the link's end");
    t.equal(near.links.length, 0);
  });

  test(`${mode}: everything written arrives although the link goes right after`, async (t) => {
    const { port, accept } = await acceptor(t);
    const near = await server(t, mode, port);
    const duplex = await connect(clientOptions(mode, near));
    const service = await accept();
    service.end();
    duplex.resume();
    const [sent, received] = await Promise.all([sendSummed(duplex, 8 * 1024 * 1024), receiveSummed(service)]);
    t.same(received, sent);
  });

  test(`${mode}: rejects with what is wrong`, async (t) => {
    const backend = await echoServer(t);
    // Over QUIC the server is silent to a wrong secret, and TLS tells.
    const near = await server(t, mode, backend, { fallback: true });
    const options = { ...clientOptions(mode, near), fallback: true };
    await t.rejects(connect({ ...options, secret: 'another' }), { code: 'AUTH_REJECTED' });
    await t.rejects(connect({ ...options, secret: null, pin: '00'.repeat(32) }), { code: 'PIN_MISMATCH' });
    await t.rejects(connect({ ...options, backend: { host: '127.0.0.1', port: await freePort() } }), { code: 'LINK_REFUSED' });
    await t.rejects(connect({ ...options, backend: 'no-such-host.invalid:1' }), { code: 'NAME_NOT_FOUND' });
    await t.rejects(connect({ ...options, idleTimeout: 'soon' }), { code: 'CONFIG_INVALID' });
  });

  test(`${mode}: a server that does not answer is given up after dialTimeout`, async (t) => {
    const { address } = await silence(t);
    const begun = connect({ ...clientOptions(mode, { address }), dialTimeout: 200 });
    await t.rejects(
      withDeadline(begun, () => 'a rejection', 9_000),
      { code: 'LINK_TIMEOUT' },
    );
  });

  test(`${mode}: the signal, before, during and after`, async (t) => {
    const { port, accept } = await acceptor(t);
    const near = await server(t, mode, port);
    const options = clientOptions(mode, near);
    await t.rejects(connect({ ...options, signal: AbortSignal.abort() }), { code: 'ABORTED' });

    const during = new AbortController();
    const { address, heard } = await silence(t);
    const begun = connect({ ...clientOptions(mode, { address }), signal: during.signal });
    void heard.then(() => during.abort());
    await t.rejects(
      withDeadline(begun, () => 'a rejection', 9_000),
      { code: 'ABORTED' },
    );

    const after = new AbortController();
    const duplex = await connect({ ...options, signal: after.signal });
    const service = await accept();
    duplex.write('x');
    await receive(service, 1);
    const error = once(duplex, 'error');
    after.abort();
    t.match((await error)[0], { code: 'ABORTED' });
    t.equal(await ending(service), 'reset');
  });
}

test('with both transports it takes TLS where no UDP answers, and gives up when neither does', async (t) => {
  const near = await server(t, 'tls', await echoServer(t));
  const options = { ...clientOptions('quic', near), fallback: true };
  const duplex = await connect(options);
  t.equal(near.links[0]!.transport, 'tls');
  duplex.end('over TLS');
  t.equal((await receiveAll(duplex)).toString(), 'over TLS');
  const nobody = { host: '127.0.0.1', port: await freePort() };
  await t.rejects(connect({ ...options, backend: nobody }), { code: 'LINK_REFUSED' });
});

/** An address where UDP and TCP are taken and never answered; `heard` resolves when somebody tries. */
async function silence(t: Test): Promise<{ address: { host: string; port: number }; heard: Promise<unknown> }> {
  const attempts = new EventEmitter();
  const heard = once(attempts, 'heard');
  const tell = (): unknown => attempts.emit('heard');
  const port = await listen(t, tell);
  const udp = createSocket('udp4').on('message', tell);
  udp.bind(port, '127.0.0.1');
  await once(udp, 'listening');
  t.teardown(() => udp.close());
  return { address: { host: '127.0.0.1', port }, heard };
}
