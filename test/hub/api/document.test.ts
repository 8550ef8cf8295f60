import { Validator } from '@seriousme/openapi-schema-validator';
import { test } from 'tap';
import { freePort } from '../../support/tcp.ts';
import { startTestApi } from '../support/api.ts';
import { Document } from '../support/document.ts';
import { AGENT, connection } from '../support/fake-publisher.ts';

test('the hub serves an OpenAPI document that is one', async (t) => {
  const { call } = await startTestApi(t);
  const { status, body } = await call('GET', '/api/openapi.json');
  t.equal(status, 200);
  const verdict = await new Validator().validate(body);
  t.ok(verdict.valid, JSON.stringify(verdict.errors));
  t.equal(body.openapi, '3.1.0');
});

test('each operation of the document is there and answers as it says', async (t) => {
  const { call, publisher, live } = await startTestApi(t);
  const document = new Document((await call('GET', '/api/openapi.json')).body);
  const port = await freePort();
  const wanted = { port, target: '127.0.0.1:22', allow_ips: ['10.0.0.0/8'], bandwidth: '1Mbit' };
  publisher.agentStates = [AGENT, { ...AGENT, name: 'attic', transport: 'tls', rtt: Number.NaN, loss: 0.01 }];
  publisher.connectionStates = [connection('a', port), connection('b', port, { agent: '' })];
  publisher.end(connection('c', port, { bytesIn: 3 }));

  const seen = new Set<string>();
  const check = async (method: string, path: string, concrete: string, body?: unknown, token?: string) => {
    const operation = document.operations.find((one) => one.method === method && one.path === path);
    t.ok(operation, `${method} ${path} is in the document`);
    const reply = await call(method, concrete, body, token === undefined ? {} : { authorization: `Bearer ${token}` });
    t.ok(reply.status < 300, `${method} ${concrete}: ${reply.status}`);
    t.equal(document.judge(operation!, reply), null, `${method} ${concrete}`);
    seen.add(`${method} ${path}`);
    return reply;
  };
  const one = '/api/v1/mappings/{protocol}/{port}';
  await check('POST', '/api/mapping/create', '/api/mapping/create', wanted);
  await check('GET', '/api/mapping/list', '/api/mapping/list');
  await check('POST', '/api/mapping/remove', '/api/mapping/remove', { port });
  await check('POST', '/api/v1/mappings', '/api/v1/mappings', wanted);
  await check('GET', '/api/v1/mappings', '/api/v1/mappings');
  await check('GET', one, `/api/v1/mappings/tcp/${port}`);
  await check('PATCH', one, `/api/v1/mappings/tcp/${port}`, { note: 'changed', agent: null, bandwidth: null });
  await check('GET', `${one}/clients`, `/api/v1/mappings/tcp/${port}/clients`);
  for (let second = 0; second < 20; second++) live.tick(Date.now() + second * 1_000);
  await check('GET', `${one}/history`, `/api/v1/mappings/tcp/${port}/history`);
  await check('DELETE', one, `/api/v1/mappings/tcp/${port}`);
  for (const path of ['/health', '/api/v1/agents', '/api/v1/connections', '/api/v1/stats', '/api/v1/history', '/api/openapi.json'])
    await check('GET', path, path);
  const { id, token } = (await check('POST', '/api/v1/tokens', '/api/v1/tokens', { name: 'ops', role: 'manage' })).body;
  await check('GET', '/api/v1/tokens', '/api/v1/tokens', undefined, token);
  await check('GET', '/api/v1/audit', '/api/v1/audit', undefined, token);
  await check('DELETE', '/api/v1/tokens/{id}', `/api/v1/tokens/${id}`, undefined, token);
  seen.add('GET /api/v1/events');
  t.same(
    document.operations.map(({ method, path }) => `${method} ${path}`).toSorted(),
    [...seen].toSorted(),
    'and no other is in it',
  );
});
