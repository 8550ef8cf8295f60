import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { STATUS } from '../../../src/hub/api/refusal.ts';
import { freePort, listen } from '../../support/tcp.ts';
import { startTestApi } from '../support/api.ts';

const DOCUMENT = readFileSync('docs/HUB-API.md', 'utf8');

test('every bad input of docs/HUB-API.md has the answer that stands there, and changes nothing', async (t) => {
  const { call, publisher, store } = await startTestApi(t);
  const mapped = await freePort();
  const taken = await listen(t, () => {}, await freePort());
  await call('POST', '/api/v1/mappings', { port: mapped, target: '127.0.0.1:22' });
  const here = (text: string) => text.replaceAll('10022', String(mapped)).replaceAll('10023', String(taken));

  const rows = rowsOf('Every bad input and its answer');
  t.ok(rows.length > 50);
  for (const [request = '', status, code, field, message = ''] of rows) {
    const { body, ...answer } = await call(...requestOf(here(unquoted(request)), String(mapped)));
    const { code: found, errors, detail } = body.success === false ? { ...body.data, detail: body.message } : body;
    t.equal(answer.status, Number(status), request);
    t.equal(found, unquoted(code), request);
    const said = field === '' ? detail : errors.find((error: { field: string }) => error.field === unquoted(field))?.message;
    t.ok(said?.includes(here(message)), `${request}: ${JSON.stringify(errors)} ${detail}`);
  }
  t.equal(publisher.mappings().length, 1);
  t.equal((await store.mappings()).length, 1);
  t.equal((await store.audit(10)).length, 1);
});

test('docs/HUB-API.md has every code with its status', async (t) => {
  t.same(
    rowsOf('Errors').map(([code, status]) => [unquoted(code), Number(status)]),
    Object.entries(STATUS).toSorted(([, a], [, b]) => a - b),
  );
});

test('what has no line of its own: a body that is too large, or shorter than it says', async (t) => {
  const { call } = await startTestApi(t);
  const large = JSON.stringify({ port: 10_024, note: 'x'.repeat(70_000) });
  t.match(await call('POST', '/api/v1/mappings', large), { status: 413, body: { code: 'TOO_LARGE' } });
  t.match(await call('GET', `/api/v1/mappings/tcp/${'1'.repeat(300)}`), { status: 400, body: { code: 'REQUEST_INVALID' } });
  t.equal((await call('GET', `/${'x'.repeat(5_000)}`)).status, 404);
});

/** The cells of the rows below a heading's table head. */
function rowsOf(heading: string): string[][] {
  const section = DOCUMENT.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** `mapped` is the port of the mapping that there is. */
function requestOf(text: string, mapped: string): [string, string, string?] {
  const [first = '', ...rest] = text.split(' ');
  const [method, longPath] = SHORT[first] ?? [first];
  const path = longPath?.replace('10022', mapped);
  if (path === undefined) return [method, rest[0] ?? ''];
  return rest.length === 0 ? [method, path] : [method, path, rest.join(' ')];
}

function unquoted(cell = ''): string {
  return cell.replaceAll('`', '');
}

const SHORT: Readonly<Record<string, readonly [string, string]>> = {
  create: ['POST', '/api/v1/mappings'],
  remove: ['POST', '/api/mapping/remove'],
  token: ['POST', '/api/v1/tokens'],
  change: ['PATCH', '/api/v1/mappings/tcp/10022'],
};
