import { once } from 'node:events';
import { type AddressInfo, Server } from 'node:net';
import path from 'node:path';
import { test } from 'tap';
import { parseNetworks } from '../../../src/hub/allow-list.ts';
import { eventually } from '../../support/deadline.ts';
import { temporaryFolder } from '../../support/files.ts';
import { dial, ending, freePort, receive, receiveAll } from '../../support/tcp.ts';
import { startTestApi } from '../support/api.ts';
import { AGENT, connection } from '../support/fake-publisher.ts';
import { mapping } from '../support/mappings.ts';

test('create, list, remove and health in the shape of {success, message, data}', async (t) => {
  const { call, publisher } = await startTestApi(t);
  const port = await freePort();
  const made = await call('POST', '/api/mapping/create', { port, target: '127.0.0.1:22', note: 'ssh' });
  t.match(made, {
    status: 201,
    body: { success: true, message: `tcp/${port} leads to 127.0.0.1:22`, data: { port, ready: true } },
  });
  t.match(await call('GET', '/api/mapping/list'), {
    status: 200,
    body: { success: true, message: '1 mapping', data: [{ port, note: 'ssh', target_ip: '127.0.0.1', target_port: 22 }] },
  });
  t.match(await call('GET', '/health'), {
    status: 200,
    body: { success: true, data: { status: 'ok', tunnel_enabled: true, tunnel_connected: false } },
  });
  publisher.agentStates = [AGENT];
  t.match(await call('GET', '/health'), { body: { data: { tunnel_connected: true } } });
  t.match(await call('POST', '/api/mapping/remove', { port }), { status: 200, body: { success: true, data: { port } } });
  t.match(await call('POST', '/api/mapping/remove', { port }), {
    status: 404,
    body: { success: false, message: `There is no mapping tcp/${port}.`, data: { code: 'NOT_FOUND', errors: [{ field: 'port' }] } },
  });
  t.match(await call('GET', '/api/mapping/list'), { body: { data: [] } });
});

test('mappings as resources', async (t) => {
  const { call, publisher } = await startTestApi(t);
  const port = await freePort();
  const wanted = {
    port,
    protocol: 'udp',
    target_ip: 'fd00::1',
    target_port: 53,
    agent: 'cellar',
    allow_ips: ['10.0.0.0/8'],
    bandwidth: '10Mbit',
  };
  const made = await call('POST', '/api/v1/mappings', wanted);
  t.match(made, {
    status: 201,
    headers: { location: `/api/v1/mappings/udp/${port}` },
    body: { ...wanted, bandwidth: 10_000_000, target: '[fd00::1]:53', via: 'agent', origin: 'api', note: '', problem: null },
  });
  t.equal(publisher.mappings()[0]?.mapping.bandwidth, 1_250_000, 'bytes a second for the data plane');
  t.same((await call('GET', `/api/v1/mappings/udp/${port}`)).body, made.body);
  t.same((await call('GET', '/api/v1/mappings')).body, { mappings: [made.body] });
  t.match(await call('GET', `/api/v1/mappings/tcp/${port}`), { status: 404, body: { code: 'NOT_FOUND' } });
  const gone = await call('DELETE', `/api/v1/mappings/udp/${port}`);
  t.equal(gone.status, 204);
  t.equal(gone.text, '');
  t.equal((await call('DELETE', `/api/v1/mappings/udp/${port}`)).status, 404);
});

test('who dials is an agent, unless the hub takes none or is told to', async (t) => {
  const [port, other] = [await freePort(), await freePort()];
  const hub = await startTestApi(t);
  t.match(await hub.call('POST', '/api/v1/mappings', { port, target_ip: '192.0.2.1' }), {
    body: { via: 'agent', target: `192.0.2.1:${port}` },
  });
  t.match(await hub.call('POST', '/api/v1/mappings', { port: other, target_port: 80, via: 'direct' }), {
    body: { via: 'direct', target: '127.0.0.1:80' },
  });
  const [third] = [await freePort()];
  const forwarder = await startTestApi(t, { tunnelEnabled: false });
  t.match(await forwarder.call('POST', '/api/v1/mappings', { port: third, target_ip: '192.0.2.1' }), { body: { via: 'direct' } });
});

test('agents, connections and figures', async (t) => {
  const { call, publisher } = await startTestApi(t);
  const port = await freePort();
  await call('POST', '/api/v1/mappings', { port, target: '127.0.0.1:22' });
  publisher.agentStates = [AGENT];
  publisher.connectionStates = [connection('a', port, { bytesIn: 5 }), connection('b', port), connection('c', port)];
  publisher.end(connection('b', port, { bytesIn: 7, bytesOut: 8 }));
  t.match((await call('GET', '/api/v1/agents')).body, {
    agents: [{ name: 'cellar', rtt_ms: 12.5, loss: null, allow: ['127.0.0.1:22'] }],
  });
  t.match((await call('GET', '/api/v1/connections?limit=1&offset=1')).body, {
    total: 2,
    connections: [{ tag: 'c', agent: 'cellar' }],
  });
  t.match((await call('GET', '/api/v1/stats')).body, {
    role: 'manage',
    mappings: 1,
    mappings_ready: 1,
    agents: 1,
    connections: 2,
    traffic: { connections: 1, bytes_in: 7, bytes_out: 8 },
  });
  t.match((await call('GET', `/api/v1/mappings/tcp/${port}`)).body, { traffic: { connections: 1, bytes_in: 7 } });
});

test('database and port stay in step when one of them fails', async (t) => {
  const { call, broken, store, publisher, log } = await startTestApi(t);
  const port = await freePort();
  broken.add('addMapping');
  const refused = await call('POST', '/api/mapping/create', { port, target: '127.0.0.1:22' });
  t.match(refused, { status: 503, headers: { 'retry-after': '5' }, body: { success: false, data: { code: 'DATABASE_FAILED' } } });
  t.same(publisher.mappings(), []);
  t.ok(log.events().includes('api_failed'));
  broken.clear();
  await call('POST', '/api/mapping/create', { port, target: '127.0.0.1:22' });
  broken.add('removeMapping');
  t.equal((await call('POST', '/api/mapping/remove', { port })).status, 503);
  t.equal(publisher.mappings().length, 1);
  t.equal((await store.mappings()).length, 1);
});

test('what an agent asked for is shown as its, and is its to end', async (t) => {
  const { call, publisher } = await startTestApi(t);
  publisher.wish(mapping(12_345));
  t.match((await call('GET', '/api/v1/mappings')).body, { mappings: [{ port: 12_345, origin: 'agent', created_at: null }] });
  t.match(await call('DELETE', '/api/v1/mappings/tcp/12345'), { status: 409, body: { code: 'PORT_TAKEN' } });
  publisher.carry(12_345, { connectionsTotal: 2, bytesIn: 5, bytesOut: 6 });
  t.match((await call('GET', '/api/v1/stats')).body, { traffic: { connections: 2, bytes_in: 5, bytes_out: 6 } });
});

test('tokens: as soon as there is one, everybody needs one; a reader cannot change anything', async (t) => {
  const { call, store } = await startTestApi(t);
  t.match(await call('POST', '/api/v1/tokens', { name: 'eve', role: 'read' }), {
    status: 409,
    body: { code: 'TOKEN_NEEDED', errors: [{ field: 'role' }] },
  });
  const { token: manage, id } = (await call('POST', '/api/v1/tokens', { name: 'ops', role: 'manage' })).body;
  const asOps = { authorization: `Bearer ${manage}` };
  const { token: read, id: reader } = (await call('POST', '/api/v1/tokens', { name: 'page', role: 'read' }, asOps)).body;
  const asPage = { authorization: `Bearer ${read}` };

  const port = await freePort();
  const wanted = { port, target: '127.0.0.1:22' };
  const anonymous = await call('GET', '/api/v1/mappings');
  t.match(anonymous, { status: 401, headers: { 'www-authenticate': /^Bearer/ }, body: { code: 'TOKEN_MISSING' } });
  for (const wrong of [
    manage.slice(0, -1),
    `${manage.slice(0, -1)}${manage.endsWith('A') ? 'B' : 'A'}`,
    'x',
    read.replace(reader, id),
  ])
    t.match(await call('GET', '/api/v1/mappings', undefined, { authorization: `Bearer ${wrong}` }), {
      status: 401,
      body: { code: 'TOKEN_UNKNOWN' },
    });
  t.equal((await call('GET', '/health')).status, 200, 'health needs none');
  t.equal((await call('GET', '/api/v1/mappings', undefined, asPage)).status, 200);
  t.match(await call('POST', '/api/mapping/create', wanted, asPage), {
    status: 403,
    body: { success: false, data: { code: 'ROLE_INSUFFICIENT' } },
  });
  t.equal((await call('GET', '/api/v1/tokens', undefined, asPage)).status, 403);
  t.equal((await call('POST', '/api/mapping/create', wanted, asOps)).status, 201);

  t.notOk(JSON.stringify(await store.tokens()).includes(manage.split('_').slice(2).join('_')), 'the secret is not in the database');
  t.notOk((await call('GET', '/api/v1/tokens', undefined, asOps)).text.includes('hash'));
  t.match((await call('GET', '/api/v1/audit?limit=1', undefined, asOps)).body, {
    entries: [{ actor: 'ops', peer: '127.0.0.1', action: 'mapping.create', subject: `tcp/${port}`, detail: { port } }],
  });

  t.match(await call('DELETE', `/api/v1/tokens/${id}`, undefined, asOps), { status: 409, body: { code: 'TOKEN_NEEDED' } });
  t.equal((await call('DELETE', `/api/v1/tokens/${reader}`, undefined, asOps)).status, 204);
  t.equal((await call('GET', '/api/v1/mappings', undefined, asPage)).status, 401, 'from now on');
  t.equal((await call('DELETE', `/api/v1/tokens/${id}`, undefined, asOps)).status, 204);
  t.equal((await call('GET', '/api/v1/mappings')).status, 200, 'without any, this machine may again');
});

test('a token from a file may manage, and no first one is needed', async (t) => {
  const { call } = await startTestApi(t, { fileToken: 'from a vault' });
  t.equal((await call('GET', '/api/v1/tokens')).status, 401);
  t.match(await call('GET', '/api/v1/tokens', undefined, { authorization: 'Bearer from a vault' }), { status: 401 });
  const other = await startTestApi(t, { fileToken: 'from-a-vault' });
  const asFile = { authorization: 'Bearer from-a-vault' };
  t.equal((await other.call('POST', '/api/v1/tokens', { name: 'page', role: 'read' }, asFile)).status, 201);
});

test('an API that others reach does not start without a token', async (t) => {
  await t.rejects(startTestApi(t, { listen: { host: '0.0.0.0', port: 0 } }), {
    code: 'CONFIG_INVALID',
    message: /-api-token-file/,
  });
  await t.rejects(startTestApi(t, { listen: { host: '', port: 0 } }), { code: 'CONFIG_INVALID' });
  const { call } = await startTestApi(t, { listen: { host: '0.0.0.0', port: 0 }, fileToken: 'from-a-vault' });
  t.equal((await call('GET', '/health')).status, 200);
});

test('an API that others reach stays closed when another hub with the same database removes the last token', async (t) => {
  const database = path.join(temporaryFolder(t), 'hub.db');
  const here = await startTestApi(t, { database });
  const { token, id } = (await here.call('POST', '/api/v1/tokens', { name: 'ops', role: 'manage' })).body;
  const open = await startTestApi(t, { database, listen: { host: '0.0.0.0', port: 0 } });
  const asOps = { authorization: `Bearer ${token}` };
  t.equal((await open.call('GET', '/api/v1/mappings', undefined, asOps)).status, 200);
  t.equal((await here.call('DELETE', `/api/v1/tokens/${id}`, undefined, asOps)).status, 204);
  await open.tokens.refresh();
  for (const headers of [{}, asOps, { host: 'localhost' }])
    t.equal((await open.call('GET', '/api/v1/mappings', undefined, headers)).status, 401);
  t.match(await open.call('POST', '/api/v1/tokens', { name: 'eve', role: 'manage' }, { host: 'localhost' }), { status: 401 });
});

test('a token that is removed while a request is being sent is refused', async (t) => {
  const { call, port: api, publisher } = await startTestApi(t);
  const { token: first } = (await call('POST', '/api/v1/tokens', { name: 'ops', role: 'manage' })).body;
  const asOps = { authorization: `Bearer ${first}` };
  const { token, id } = (await call('POST', '/api/v1/tokens', { name: 'eve', role: 'manage' }, asOps)).body;
  const body = JSON.stringify({ port: await freePort(), target: '127.0.0.1:22' });
  const head = ['POST /api/v1/mappings HTTP/1.1', 'host: localhost', 'content-type: application/json', 'connection: close'];
  const socket = await dial(t, api);
  socket.write(
    [...head, `authorization: Bearer ${token}`, `content-length: ${body.length}`, 'expect: 100-continue', '', ''].join('\r\n'),
  );
  await receive(socket, 'HTTP/1.1 100 Continue'.length);
  t.equal((await call('DELETE', `/api/v1/tokens/${id}`, undefined, asOps)).status, 204);
  socket.write(body);
  t.match((await receiveAll(socket)).toString(), /HTTP\/1\.1 401 /);
  t.same(publisher.mappings(), []);
});

test('who may not is named in the log, and no token is', async (t) => {
  const { call, log } = await startTestApi(t, { fileToken: 'from-a-vault' });
  for (let n = 0; n < 100; n++) await call('GET', '/api/v1/mappings?x=secret', undefined, { authorization: 'Bearer a-guess' });
  const lines = log.lines.filter(({ event }) => event === 'api_refused');
  t.equal(lines.length, 10, 'not as often as somebody tries');
  t.match(lines[0], { code: 'TOKEN_UNKNOWN', peer: '127.0.0.1', method: 'GET', path: '/api/v1/mappings' });
  t.notMatch(JSON.stringify(lines), /guess|secret|vault/);
});

test('a body that does not come, or comes byte by byte, ends the connection', async (t) => {
  const { port: api, call } = await startTestApi(t, { patience: 300 });
  const head = ['POST /api/v1/mappings HTTP/1.1', 'host: localhost', 'content-type: application/json'];
  const slow = await Promise.all([dial(t, api), dial(t, api)]);
  slow[0]!.write([...head, 'content-length: 1000', '', '{'].join('\r\n'));
  slow[1]!.write([...head, 'transfer-encoding: chunked', '', ''].join('\r\n'));
  const drip = setInterval(() => slow[1]!.write('1\r\n \r\n'), 50);
  t.teardown(() => clearInterval(drip));
  await Promise.all(slow.map((socket) => ending(socket)));
  t.equal((await call('GET', '/health')).status, 200);
});

test('one address cannot take all connections', async (t) => {
  const { port: api, call } = await startTestApi(t);
  const many = await Promise.all(Array.from({ length: 100 }, () => dial(t, api)));
  t.equal(await ending(await dial(t, api)), 'fin');
  many[0]!.write('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n');
  t.match((await receive(many[0]!, 12)).toString(), 'HTTP/1.1 200');
  many[0]!.destroy();
  await once(many[0]!, 'close');
  await eventually('a place', () =>
    call('GET', '/health').then(
      ({ status }) => status === 200,
      () => false,
    ),
  );
});

test('only allowed networks are answered', async (t) => {
  const parsed = parseNetworks(['10.0.0.0/8']);
  const { call } = await startTestApi(t, { networks: 'value' in parsed ? parsed.value : null });
  t.match(await call('GET', '/health'), { status: 403, body: { data: { code: 'ADDRESS_REFUSED' } } });
  const own = parseNetworks(['127.0.0.0/8']);
  const here = await startTestApi(t, { networks: 'value' in own ? own.value : null });
  t.equal((await here.call('GET', '/health')).status, 200);
});

test('a connection that cannot be accepted, for want of descriptors, ends nothing', async (t) => {
  const servers: Server[] = [];
  const { listen } = Server.prototype;
  Server.prototype.listen = function (this: Server, ...words: unknown[]) {
    servers.push(this);
    return listen.apply(this, words as never);
  } as typeof listen;
  t.teardown(() => (Server.prototype.listen = listen));
  const { call, port } = await startTestApi(t);
  const server = servers.find((one) => (one.address() as AddressInfo | null)?.port === port)!;
  server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
  t.equal((await call('GET', '/health')).status, 200);
});

test('too many requests of one address have to wait, wrong tokens among them', async (t) => {
  const { call } = await startTestApi(t, { rate: 5, fileToken: 'from-a-vault' });
  const statuses = [];
  for (let n = 0; n < 7; n++) statuses.push(await call('GET', '/api/v1/mappings', undefined, { authorization: 'Bearer guess' }));
  t.same(
    statuses.map(({ status }) => status),
    [401, 401, 401, 401, 401, 429, 429],
  );
  t.match(statuses[6], { headers: { 'retry-after': /^\d+$/ }, body: { code: 'TOO_MANY' } });
});
