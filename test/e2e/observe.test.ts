import { test } from 'tap';
import { parseExposition, valueOf } from '../observe/exposition.ts';
import { eventually } from '../support/deadline.ts';
import { MODES, startClient, startServer } from '../support/qtunnel.ts';
import { dial, echoes, echoServer, ending, freePort } from '../support/tcp.ts';

for (const mode of MODES) {
  test(`${mode}: both sides' metrics tell what happened`, async (t) => {
    const [atServer, atClient] = [await freePort(), await freePort()];
    const server = await startServer(t, { mode, backend: await echoServer(t), flags: [`-metrics=127.0.0.1:${atServer}`] });
    const client = await startClient(t, { mode, server: server.port, flags: [`-metrics=127.0.0.1:${atClient}`] });
    const [open, closed] = [await dial(t, client.port), await dial(t, client.port)];
    t.ok(await echoes(open, 'twelve bytes'));
    closed.end();
    t.equal(await ending(closed), 'fin');

    for (const port of [atServer, atClient]) {
      const settled = async () => valueOf(await metrics(port), 'qtunnel_streams_open', TUNNEL) === 1;
      await eventually('one stream is open', settled);
      const samples = await metrics(port);
      t.equal(valueOf(samples, 'qtunnel_streams_total', TUNNEL), 2);
      t.equal(valueOf(samples, 'qtunnel_payload_bytes_total', { ...TUNNEL, direction: 'sent' }), 12);
      t.equal(valueOf(samples, 'qtunnel_payload_bytes_total', { ...TUNNEL, direction: 'received' }), 12);
      t.equal(valueOf(samples, 'qtunnel_link_up', { ...TUNNEL, transport: mode }), 1);
      t.equal(valueOf(samples, 'qtunnel_reconnects_total', TUNNEL), 0);
    }
    t.ok(valueOf(await metrics(atClient), 'qtunnel_link_rtt_seconds', { transport: mode })! > 0);
    if (mode === 'quic') {
      t.ok(valueOf(await metrics(atClient), 'qtunnel_link_congestion_window_bytes', { transport: mode })! > 0);
      t.ok(valueOf(await metrics(atClient), 'qtunnel_link_packets_sent_total', { transport: mode })! > 0);
    }
  });

  test(`${mode}: a failed dial is counted by its reason on the server`, async (t) => {
    const port = await freePort();
    const server = await startServer(t, { mode, backend: await freePort(), flags: [`-metrics=127.0.0.1:${port}`] });
    const client = await startClient(t, { mode, server: server.port });
    t.equal(await ending(await dial(t, client.port)), 'reset');
    t.equal(valueOf(await metrics(port), 'qtunnel_dial_failures_total', { reason: 'DIAL_REFUSED' }), 1);
  });

  test(`${mode}: /ready follows the link, /healthz does not`, async (t) => {
    const port = await freePort();
    const backend = await echoServer(t);
    const server = await startServer(t, { mode, backend });
    const flags = [`-metrics=127.0.0.1:${port}`, '-idle-timeout=2s', '-keepalive=300ms'];
    await startClient(t, { mode, server: server.port, flags });
    t.equal((await get(port, '/ready')).status, 200);

    await server.process.kill('SIGKILL');
    await eventually('not ready', async () => (await get(port, '/ready')).status === 503);
    t.match(await (await get(port, '/ready')).json(), { ready: false, tunnels: [{ tag: 'default', ready: false }] });
    t.equal((await get(port, '/healthz')).status, 200);

    await startServer(t, { mode, backend, listen: `127.0.0.1:${server.port}`, stateDir: server.stateDir });
    await eventually('ready again', async () => (await get(port, '/ready')).status === 200);
    t.ok(valueOf(await metrics(port), 'qtunnel_reconnects_total', TUNNEL)! >= 1);
  });
}

test('a handshake that fails is counted by its reason', async (t) => {
  const port = await freePort();
  const server = await startServer(t, { mode: 'quic', backend: await echoServer(t) });
  const flags = [`-metrics=127.0.0.1:${port}`];
  await startClient(t, { mode: 'quic', server: server.port, secret: 'a wrong one', flags, waitForLink: false });
  const failures = async () => valueOf(await metrics(port), 'qtunnel_handshake_failures_total', { reason: 'AUTH_REJECTED' });
  await eventually('a failure', async () => (await failures()) !== undefined);
  t.ok((await failures())! >= 1);
});

function get(port: number, path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`);
}

async function metrics(port: number) {
  return parseExposition(await (await get(port, '/metrics')).text());
}

const TUNNEL = { tunnel: 'default' };
