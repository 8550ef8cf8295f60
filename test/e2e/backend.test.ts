import { connect } from 'node:net';
import { test } from 'tap';
import { MODES, startTunnel } from '../support/qtunnel.ts';
import { acceptor, dial, echoes, echoServer, ending, freePort, listen } from '../support/tcp.ts';

for (const mode of MODES) {
  test(`${mode}: a refused backend resets the application's connection; both logs have the reason under one tag`, async (t) => {
    const { port, server, client } = await startTunnel(t, mode, await freePort());
    const application = await dial(t, port);
    t.equal(await ending(application), 'reset');

    const failed = await server.process.event('dial_failed', { reason: 'DIAL_REFUSED' });
    const reset = await client.process.event('stream_reset', { reason: 'DIAL_REFUSED' });
    t.match(failed['tag'], /^[0-9a-f]{16}$/);
    t.equal(reset['tag'], failed['tag']);
  });

  test(`${mode}: a backend whose name does not exist resets with that reason`, async (t) => {
    const { port, server, client } = await startTunnel(t, mode, 'no-such-host.invalid:80');
    t.equal(await ending(await dial(t, port)), 'reset');
    await server.process.event('dial_failed', { reason: 'DIAL_NAME_NOT_FOUND' });
    t.ok(await client.process.event('stream_reset', { reason: 'DIAL_NAME_NOT_FOUND' }));
  });

  test(`${mode}: a backend that comes back is used again`, async (t) => {
    const backend = await freePort();
    const { port } = await startTunnel(t, mode, backend);
    t.equal(await ending(await dial(t, port)), 'reset');
    await listen(t, (socket) => socket.pipe(socket), backend);
    t.ok(await echoes(await dial(t, port), 'here again'));
  });

  test(`${mode}: the logs of both sides name a connection alike and agree on its bytes`, async (t) => {
    const { port, server, client } = await startTunnel(t, mode, await echoServer(t));
    const application = await dial(t, port);
    await echoes(application, 'twelve bytes');
    application.end();
    t.equal(await ending(application), 'fin');

    const opened = await client.process.event('stream_open');
    const { tag, link } = opened;
    t.ok(await server.process.event('stream_open', { tag, link }));
    t.match(await client.process.event('stream_closed', { tag }), { sent: 12, received: 12 });
    t.match(await server.process.event('stream_closed', { tag }), { sent: 12, received: 12 });
  });

  test(`${mode}: more than -max-connections are reset, and there is room again when one ends`, async (t) => {
    const { port: backend, accept } = await acceptor(t);
    const { port, server } = await startTunnel(t, mode, backend, { serverFlags: ['-max-connections=2'] });
    const first = await dial(t, port);
    const firstService = await accept();
    await dial(t, port);
    await accept();
    // The reset may come before Node has seen that the connection is there.
    t.equal(await ending(connect({ port, host: '127.0.0.1', allowHalfOpen: true })), 'reset');

    first.end();
    firstService.end();
    t.equal(await ending(first), 'fin');
    await server.process.event('stream_closed');
    const next = await dial(t, port);
    const service = await accept();
    service.pipe(service);
    t.ok(await echoes(next, 'room again'));
  });
}
