import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { type Test, test } from 'tap';
import { withDeadline } from '../../support/deadline.ts';
import { dial, freePort, receive } from '../../support/tcp.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import { AGENT } from '../support/fake-publisher.ts';

test('events: every moment, with the rates since the one before', async (t) => {
  const hub = await startTestApi(t);
  const port = await freePort();
  await hub.call('POST', '/api/v1/mappings', { port, target: '127.0.0.1:22' });
  hub.publisher.agentStates = [AGENT];
  const start = Date.now() + 60_000;
  hub.live.tick(start);
  const events = await listen(t, hub);
  t.match(await events.next(), {
    at: new Date(start).toISOString(),
    mappings: [{ port, rate_in: 0 }],
    agents: [{ name: 'cellar', rtt_ms: 12.5 }],
  });
  hub.publisher.carry(port, { connections: 2, bytesIn: 500, bytesOut: 4_000 });
  hub.live.tick(start + 2_000);
  t.match(await events.next(), { mappings: [{ port, ready: true, connections: 2, rate_in: 250, rate_out: 2_000 }] });
});

test('events end when the tokens change, and need one then', async (t) => {
  const hub = await startTestApi(t);
  hub.live.tick(Date.now());
  const events = await listen(t, hub);
  await events.next();
  await hub.call('POST', '/api/v1/tokens', { name: 'ops', role: 'manage' });
  await withDeadline(events.ended, () => 'the end of the stream');
  t.equal((await hub.call('GET', '/api/v1/events')).status, 401);
});

test('more listeners than there are places are told so, and a place is free again when one leaves', async (t) => {
  const hub = await startTestApi(t);
  hub.live.tick(Date.now());
  const all = [];
  for (let n = 0; n < 64; n++) all.push(await listen(t, hub));
  t.match(await hub.call('GET', '/api/v1/events'), { status: 429, body: { code: 'TOO_MANY' } });
  all[0]!.response.destroy();
  // The hub hears of it after this side.
  let again = null;
  while (again === null) again = await listen(t, hub).catch(() => null);
  t.match(await again.next(), { at: String, mappings: [] });
});

test('many requests in one go on one connection take one place, and give it back', async (t) => {
  const hub = await startTestApi(t);
  hub.live.tick(Date.now());
  for (let round = 0; round < 2; round++) {
    const socket = await dial(t, hub.port);
    socket.write('GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(70));
    await receive(socket, 500);
    socket.destroy();
  }
  for (let n = 0; n < 64; n++) await listen(t, hub);
  t.equal((await hub.call('GET', '/api/v1/events')).status, 429);
});

test('the last hour of the hub, an agent and a mapping', async (t) => {
  const hub = await startTestApi(t);
  const port = await freePort();
  await hub.call('POST', '/api/v1/mappings', { port, target: '127.0.0.1:22' });
  hub.publisher.agentStates = [AGENT];
  const start = Date.parse('2030-01-01T00:00:00Z');
  hub.live.tick(start);
  for (let second = 1; second < 20; second++) {
    hub.publisher.carry(port, { connections: 3, bytesIn: second * 100, bytesOut: 0 });
    hub.live.tick(start + second * 1_000);
  }
  const { body } = await hub.call('GET', '/api/v1/history');
  t.same(body.times, ['2030-01-01T00:00:09.000Z', '2030-01-01T00:00:19.000Z']);
  t.same(body.total, { connections: [3, 3], rate_in: [90, 100], rate_out: [0, 0] });
  t.same(body.agents, [{ name: 'cellar', rtt_ms: [12.5, 12.5], loss: [null, null], connections: [3, 3] }]);
  t.same((await hub.call('GET', `/api/v1/mappings/tcp/${port}/history`)).body, { times: body.times, ...body.total });
  t.equal((await hub.call('GET', '/api/v1/mappings/udp/1/history')).status, 404);
});

/** A stream of events, read one by one. */
async function listen(t: Test, { port }: TestApi) {
  const request = get({ host: '127.0.0.1', port, path: '/api/v1/events', agent: false });
  t.teardown(() => request.destroy());
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
  const ended = new Promise((resolve) => response.on('end', resolve));
  const waiting: string[] = [];
  let text = '';
  response.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    const parts = text.split('\n\n');
    text = parts.pop() ?? '';
    waiting.push(...parts);
    response.emit('event');
  });
  response.on('error', () => {});
  const next = async (): Promise<unknown> => {
    if (waiting.length === 0) await withDeadline(once(response, 'event'), () => 'an event');
    const [type, data = ''] = waiting.shift()!.split('\n');
    t.equal(type, 'event: moment');
    return JSON.parse(data.replace(/^data: /, '')) as unknown;
  };
  return { response, next, ended };
}
