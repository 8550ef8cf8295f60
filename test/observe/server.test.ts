import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'tap';
import type { Test } from 'tap';
import type { Link } from '../../src/link/link.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { startObserveServer } from '../../src/observe/server.ts';
import { parseExposition, valueOf } from './exposition.ts';

const ANY_PORT = { host: '127.0.0.1', port: 0 };

test('/metrics is what Prometheus reads, with the process and the event loop in it', async (t) => {
  const { get, metrics } = await serve(t);
  metrics.tunnel('a', { clientmode: false, links: () => [] }).streamOpened();
  const { status, type, body } = await get('/metrics');
  t.equal(status, 200);
  t.match(type, /^text\/plain; version=0\.0\.4/);
  const samples = parseExposition(body);
  t.equal(valueOf(samples, 'qtunnel_streams_total', { tunnel: 'a' }), 1);
  t.ok(valueOf(samples, 'process_resident_memory_bytes')! > 1_000_000);
  for (const quantile of ['0.5', '0.99', '1']) t.ok(valueOf(samples, 'qtunnel_event_loop_lag_seconds', { quantile })! >= 0);
});

test('/healthz is 200 while the process lives, whatever the links do', async (t) => {
  const { get, metrics } = await serve(t);
  metrics.tunnel('a', { clientmode: true, links: () => [] });
  t.match(await get('/healthz'), { status: 200, body: 'ok\n' });
});

test('/ready is 503 while the link of any client tunnel is down, and says which', async (t) => {
  const { get, metrics } = await serve(t);
  t.match(await get('/ready'), { status: 200, body: '{"ready":true,"tunnels":[]}\n' });

  const up = { transport: 'tls', state: 'up' } as Link;
  let links: Link[] = [];
  metrics.tunnel('server', { clientmode: false, links: () => [] });
  metrics.tunnel('one', { clientmode: true, links: () => [up] });
  metrics.tunnel('two', { clientmode: true, links: () => links });
  const down = await get('/ready');
  t.equal(down.status, 503);
  t.equal(down.type, 'application/json');
  t.same(JSON.parse(down.body), {
    ready: false,
    tunnels: [
      { tag: 'server', clientmode: false, ready: true, transport: null },
      { tag: 'one', clientmode: true, ready: true, transport: 'tls' },
      { tag: 'two', clientmode: true, ready: false, transport: null },
    ],
  });

  links = [up];
  t.equal((await get('/ready')).status, 200);
});

test('anything else is refused', async (t) => {
  const { get } = await serve(t);
  t.equal((await get('/')).status, 404);
  t.equal((await get('//metrics')).status, 404);
  t.equal((await get('/metrics/')).status, 404);
  const posted = await get('/metrics', 'POST');
  t.equal(posted.status, 405);
  t.equal(posted.allow, 'GET, HEAD');
});

test('a query string and HEAD are fine', async (t) => {
  const { get } = await serve(t);
  t.equal((await get('/healthz?probe=1')).status, 200);
  t.match(await get('/ready', 'HEAD'), { status: 200, body: '' });
});

test('a metric that cannot be read is a 500, and the next request is answered', async (t) => {
  const { get, metrics } = await serve(t);
  metrics.tunnel('a', {
    clientmode: true,
    links: () => {
      throw new Error('links are gone');
    },
  });
  t.match(await get('/metrics'), { status: 500, body: /links are gone/ });
  t.equal((await get('/healthz')).status, 200);
});

test('bytes that are no HTTP end their own connection only', async (t) => {
  const { get, port } = await serve(t);
  const socket = connect(port, '127.0.0.1', () => socket.write('\x16\x03\x01 nonsense\r\n\r\n'));
  socket.resume();
  await once(socket, 'close');
  t.equal((await get('/healthz')).status, 200);
});

test('a port that is taken is LISTEN_FAILED with what to do', async (t) => {
  const { port } = await serve(t);
  await t.rejects(startObserveServer({ host: '127.0.0.1', port }, new Metrics()), {
    code: 'LISTEN_FAILED',
    message: /127\.0\.0\.1:\d+ \(-metrics\).*stop it or choose another/,
  });
  await t.rejects(startObserveServer({ host: '192.0.2.1', port: 0 }, new Metrics()), { code: 'LISTEN_FAILED' });
});

test('after close the port is free and the same metrics can be served again', async (t) => {
  const metrics = new Metrics();
  const first = await startObserveServer(ANY_PORT, metrics);
  await first.close();
  const second = await startObserveServer(first.address, metrics);
  t.equal(second.address.port, first.address.port);
  await second.close();
});

async function serve(t: Test) {
  const metrics = new Metrics();
  const server = await startObserveServer(ANY_PORT, metrics);
  t.teardown(() => server.close());
  const { port } = server.address;
  return { metrics, port, get: (path: string, method = 'GET') => ask(port, path, method) };
}

async function ask(port: number, path: string, method: string) {
  const outgoing = request({ host: '127.0.0.1', port, path, method, agent: false }).end();
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  const body = await text(incoming);
  const { 'content-type': type = '', allow } = incoming.headers;
  return { status: incoming.statusCode, type, allow, body };
}
