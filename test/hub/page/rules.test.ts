import { readFileSync } from 'node:fs';
import { type Test, test } from 'tap';
import { type OpenApiDocument, Rules } from '../../../src/hub/page/rules.ts';
import { freePort } from '../../support/tcp.ts';
import { startTestApi, type TestApi } from '../support/api.ts';

/** What the document of the API cannot say of one field alone. */
const ELSEWHERE = /unknown field|no agent for a mapping|either target, or|JSON object|target_ip.*300/;

test('what the API refuses, the rules refuse for the same field in the same words', async (t) => {
  const { hub, rules } = await start(t);
  const lines = [...readFileSync('docs/HUB-API.md', 'utf8').matchAll(/^\| `(create|token) (.*)` \| 422 \| `INPUT_INVALID` \|/gm)];
  let compared = 0;
  for (const [, what, body] of lines) {
    const { errors } = (await hub.call('POST', `/api/v1/${what === 'create' ? 'mappings' : 'tokens'}`, body)).body;
    const [{ field, message }] = errors;
    if (ELSEWHERE.test(`${field} ${message}`)) continue;
    compared++;
    const needed = what === 'token' || body!.includes('target_') ? [] : ['target'];
    const problems = rules.problems(what === 'create' ? 'MappingInput' : 'TokenInput', JSON.parse(body!), needed);
    t.ok(problems.has(field), `${body}: ${field}`);
    t.ok(message.startsWith(problems.get(field)), `${body}: ${message} / ${problems.get(field)}`);
    t.equal(problems.size, 1, `${body}: ${[...problems.keys()]}`);
  }
  t.ok(compared >= 25, `${compared} lines`);
});

test('what the API takes, the rules take', async (t) => {
  const { hub, rules } = await start(t);
  const base = { target: '127.0.0.1:22' };
  for (const changed of [
    {},
    { target: '[::1]:22' },
    { target: '[2001:db8::7]:65535' },
    { target: 'db.lan:5432' },
    { target: 'my-host_1.example.com:1' },
    { target: ':80' },
    { target: 'bücher.example:443' },
    { allow_ips: ['192.0.2.0/24', '2001:db8::/32', '198.51.100.7', '::1', '0.0.0.0/0', '::/0'] },
    { allow_ips: [] },
    { bandwidth: '10Mbit' },
    { bandwidth: '1.5gbit' },
    { bandwidth: 8_000 },
    { bandwidth: null },
    { agent: 'cellar.2' },
    { via: 'direct' },
    { note: '<b>"&' },
  ]) {
    const input = { ...base, port: await freePort(), ...changed };
    const { status, text } = await hub.call('POST', '/api/v1/mappings', input);
    t.equal(status, 201, text);
    t.strictSame([...rules.problems('MappingInput', input, ['target'])], [], JSON.stringify(changed));
  }
});

test('more items than there may be', async (t) => {
  const { rules } = await start(t);
  const allow_ips = Array.from({ length: 257 }, () => '192.0.2.1');
  t.match(rules.problems('MappingInput', { port: 1, allow_ips }).get('allow_ips'), /^expected at most 256 networks/);
});

async function start(t: Test): Promise<{ readonly hub: TestApi; readonly rules: Rules }> {
  const hub = await startTestApi(t);
  return { hub, rules: new Rules((await hub.call('GET', '/api/openapi.json')).body as OpenApiDocument) };
}
