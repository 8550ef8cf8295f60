import { test } from 'tap';
import { freePort } from '../../support/tcp.ts';
import { startTestApi } from '../support/api.ts';

/* An API on loopback without a token can be reached by whatever a browser on the same machine shows. */

test('a page of another origin can change nothing, whatever it sends', async (t) => {
  const { call, port: api, publisher } = await startTestApi(t);
  const wanted = JSON.stringify({ port: await freePort(), target: '127.0.0.1:22' });
  // Sent by a browser to another origin without asking that one first: these content types, and no others.
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain; application/json',
  ]) {
    const headers: Record<string, string> = type === '' ? {} : { 'content-type': type };
    const withoutType = type === '' ? { 'content-type': '' } : headers;
    t.equal((await call('POST', '/api/mapping/create', wanted, withoutType)).status, 415, `${type} without an origin`);
  }
  for (const origin of [
    'https://evil.example',
    'null',
    `http://127.0.0.1:${api + 1}`,
    `https://127.0.0.1:${api}`,
    'http://localhost',
  ]) {
    for (const path of ['/api/mapping/create', '/api/v1/mappings'])
      t.equal((await call('POST', path, wanted, { origin })).status, 403, `${origin} ${path}`);
    t.equal((await call('DELETE', '/api/v1/mappings/tcp/1', undefined, { origin })).status, 403);
  }
  t.same(publisher.mappings(), []);
});

test('a page of another origin that does not say which (an image, no-cors) is not served either; a link to the page is', async (t) => {
  const { call } = await startTestApi(t);
  for (const site of ['cross-site', 'same-site'])
    for (const path of ['/api/v1/events', '/api/v1/mappings', '/api/mapping/list'])
      t.equal((await call('GET', path, undefined, { 'sec-fetch-site': site })).status, 403, `${site} ${path}`);
  t.equal((await call('GET', '/health', undefined, { 'sec-fetch-site': 'cross-site' })).status, 200);
  for (const site of ['same-origin', 'none'])
    t.equal((await call('GET', '/api/v1/mappings', undefined, { 'sec-fetch-site': site })).status, 200, site);
});

test('a browser that asks first is not given leave', async (t) => {
  const { call } = await startTestApi(t);
  const asked = await call('OPTIONS', '/api/mapping/create', undefined, {
    origin: 'https://evil.example',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'content-type',
  });
  t.ok(asked.status >= 400);
  t.notOk(Object.keys(asked.headers).some((name) => name.startsWith('access-control')));
});

test('a name that was made to point here (DNS rebinding) reads nothing and changes nothing', async (t) => {
  const { call, port: api } = await startTestApi(t);
  for (const host of [
    `evil.example:${api}`,
    'evil.example',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '192.0.2.1',
    '[::2]',
  ]) {
    const origin = `http://${host}`;
    for (const headers of [{ host }, { host, origin }]) {
      t.match(await call('GET', '/api/v1/mappings', undefined, headers), { status: 403 }, host);
      t.equal((await call('GET', '/health', undefined, headers)).status, 403, host);
    }
  }
  for (const host of [`localhost:${api}`, '127.0.0.1', '[::1]', 'LOCALHOST'])
    t.equal((await call('GET', '/api/v1/mappings', undefined, { host })).status, 200, host);
});

test('its own page may, and other pages cannot read or frame what it says', async (t) => {
  const { call, port: api } = await startTestApi(t);
  const own = { host: `127.0.0.1:${api}`, origin: `http://127.0.0.1:${api}` };
  t.equal((await call('POST', '/api/mapping/create', { port: await freePort(), target: '127.0.0.1:22' }, own)).status, 201);
  t.match((await call('GET', '/api/v1/mappings')).headers, {
    'cross-origin-resource-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    'content-security-policy': /frame-ancestors 'none'/,
  });
});

test('with tokens any name may be used, since no page has one', async (t) => {
  const { call } = await startTestApi(t, { fileToken: 'from-a-vault' });
  const headers = { host: 'hub.example', authorization: 'Bearer from-a-vault' };
  t.equal((await call('GET', '/api/v1/mappings', undefined, headers)).status, 200);
  t.equal((await call('GET', '/api/v1/mappings', undefined, { ...headers, origin: 'https://evil.example' })).status, 403);
});
