import path from 'node:path';
import type { HTTPRequest, Page } from 'puppeteer-core';
import tap, { type Test, test } from 'tap';
import { withDeadline } from '../../support/deadline.ts';
import { freePort } from '../../support/tcp.ts';
import { startTestApi } from '../support/api.ts';
import { missingBrowser, openPage, startBrowser, textOf, until } from '../support/browser.ts';
import { AGENT } from '../support/fake-publisher.ts';

/* Who may see and do what on the page of a hub that has tokens. */

const skip = missingBrowser();
const browser = skip === false ? startBrowser(tap) : null;

test(
  'who has no token is asked for one, and is shown nothing; a wrong one is refused in words, and another may be tried',
  { skip },
  async (t) => {
    const { page, asked, tokens } = await openHub(t);
    await until(page, "document.activeElement.id === 'token'");
    t.equal(await textOf(page, '#state'), 'Signed out');
    t.equal(await textOf(page, '#token-problem'), '', 'nothing was wrong yet');
    t.same(await shown(page, ['#sign-in', '#content', '#sign-out', '.skip', '#create', '#tokens-section']), ['#sign-in']);
    t.equal(await page.$$eval('tbody tr', ({ length }) => length), 0);
    t.same(
      new Set(asked.map((url) => new URL(url).pathname).filter((name) => name.startsWith('/api/'))),
      new Set(['/api/openapi.json', '/api/v1/stats']),
    );
    for (const [text, answer] of [
      ['', /^expected a token: letters, digits/],
      ['two words', /^expected a token: letters, digits/],
      [`qth_${'0'.repeat(12)}_${'A'.repeat(43)}`, /^There is no such token; it may have been removed\.$/],
    ] as const) {
      await signIn(page, text);
      await until(page, `${answer.toString()}.test(document.querySelector('#token-problem').textContent)`);
      t.equal(await page.evaluate('document.activeElement.id'), 'token', text);
      t.equal(await page.evaluate('sessionStorage.length'), 0);
      t.same(await shown(page, ['#sign-in', '#content']), ['#sign-in']);
    }
    await signIn(page, tokens.read);
    await until(page, LIVE);
    t.equal(await textOf(page, '#token-problem'), '');
  },
);

test('who may read sees everything but tokens, and finds nothing to change', { skip }, async (t) => {
  const { page, tokens, port, wrong, api } = await openHub(t);
  await signIn(page, tokens.read);
  await until(page, `${LIVE} && ${rowOf(port)} !== null`);
  t.match(await textOf(page, '#mappings tbody'), /127\.0\.0\.1:22 through any agent/);
  t.match(await textOf(page, '#agents tbody'), /cellar/);
  t.same(await shown(page, CONTROLS), []);
  t.same(await shown(page, ['#content', '#sign-out', '.skip', '#sign-in']), ['#content', '#sign-out', '.skip']);
  await page.click(`tr[data-key="tcp/${port}"] .port button`);
  await until(page, "document.querySelector('#details').open");
  await page.keyboard.press('Escape');
  await page.reload();
  await until(page, `${LIVE} && ${rowOf(port)} !== null`);
  t.same(await shown(page, CONTROLS), [], 'nor after a reload');
  t.notOk(api.log.events().includes('api_refused'), 'and is suspected of nothing');
  t.same(
    wrong.filter((line) => !line.includes('401')),
    [],
  );
});

test('who may manage makes and removes mappings and tokens', { skip }, async (t) => {
  const { page, tokens, port, api } = await openHub(t);
  await signIn(page, tokens.manage);
  await until(page, `${LIVE} && ${rowOf(port)} !== null && document.querySelectorAll('#tokens tbody tr').length === 2`);
  t.same(await shown(page, CONTROLS), CONTROLS);
  const made = await freePort();
  await page.click('#new-mapping');
  await page.type('#create-port', String(made));
  await page.type('#create-target', '127.0.0.1:80');
  await page.keyboard.press('Enter');
  await until(page, `${rowOf(made)} !== null`);
  await page.click(`tr[data-key="tcp/${port}"] .action button`);
  await page.click('#confirm .danger');
  await until(page, `${rowOf(port)} === null`);
  t.same(
    (await api.store.mappings()).map(({ mapping }) => mapping.port),
    [made],
  );
  t.match(await api.store.audit(2), [
    { actor: 'ops', action: 'mapping.remove' },
    { actor: 'ops', action: 'mapping.create' },
  ]);
  await page.type('#token-name', 'eyes-too');
  await page.click('#token-form button');
  await until(page, "/^qth_/.test(document.querySelector('#new-token-text').textContent)");
  t.match(api.tokens.list(), { length: 3 });
});

test(
  'a token that is removed: the page says why it asks for one again, and an answer to the old one ends nothing',
  { skip },
  async (t) => {
    const { page, tokens, api } = await openHub(t);
    await signIn(page, tokens.read);
    await until(page, LIVE);
    const held = await hold(page, (url) => !url.endsWith('/api/v1/events'));
    api.live.tick(Date.now());
    await api.call('POST', '/api/v1/mappings', { port: await freePort(), target: '127.0.0.1:22' }, bearer(tokens.manage));
    api.live.tick(Date.now() + 1_000);
    const late = await held.next('/api/v1/mappings');
    const eyes = api.tokens.list().find(({ name }) => name === 'eyes')!;
    await api.call('DELETE', `/api/v1/tokens/${eyes.id}`, undefined, bearer(tokens.manage));
    await until(page, "!document.querySelector('#sign-in').hidden");
    t.match(await textOf(page, '#token-problem'), /^There is no such token/);
    await late.continue();
    t.equal((await held.answerTo(late)).status(), 401);
    await held.over();
    await page.evaluate("fetch('/health').then((answer) => answer.json())");
    t.match(await textOf(page, '#token-problem'), /^There is no such token/, 'it still says so');
  },
);

/** The page of a hub with an agent, a mapping, and a token of each role. */
async function openHub(t: Test) {
  const api = await startTestApi(t, { page: path.resolve('dist/hub/page') });
  api.publisher.agentStates = [AGENT];
  const port = await freePort();
  await api.call('POST', '/api/v1/mappings', { port, target: '127.0.0.1:22' });
  const manage = (await api.call('POST', '/api/v1/tokens', { name: 'ops', role: 'manage' })).body.token as string;
  const read = (await api.call('POST', '/api/v1/tokens', { name: 'eyes', role: 'read' }, bearer(manage))).body.token as string;
  api.live.tick(Date.now());

  const { page, wrong } = await openPage(await browser!);
  t.teardown(() => page.browserContext().close());
  const asked: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  await page.goto(`http://127.0.0.1:${api.port}/`);
  await until(page, "!document.querySelector('#sign-in').hidden");
  return { api, page, wrong, asked, port, tokens: { manage, read } };
}

/** Keeps requests of these URLs back. */
async function hold(page: Page, which: (url: string) => boolean) {
  const waiting: HTTPRequest[] = [];
  let tell: () => void = () => {};
  const listener = (request: HTTPRequest): void => {
    if (!which(request.url())) return void request.continue();
    waiting.push(request);
    tell();
  };
  page.on('request', listener);
  await page.setRequestInterception(true);
  return {
    next: async (end: string): Promise<HTTPRequest> => {
      for (;;) {
        const found = waiting.find((request) => request.url().endsWith(end));
        if (found !== undefined) return found;
        await withDeadline(new Promise<void>((resolve) => (tell = resolve)), () => `a request for ${end}`);
      }
    },
    answerTo: (request: HTTPRequest) => page.waitForResponse((response) => response.request() === request),
    over: async () => {
      page.off('request', listener);
      await page.setRequestInterception(false);
    },
  };
}

/** The token is pasted. */
async function signIn(page: Page, token: string): Promise<void> {
  await page.$eval('#token', (field, text) => ((field as unknown as { value: string }).value = text), token);
  await page.click('#sign-in-form button');
}

/** Those of the selectors that match something that is seen. */
async function shown(page: Page, selectors: readonly string[]): Promise<string[]> {
  const seen = (await page.evaluate(
    `${JSON.stringify(selectors)}.map((one) => [...document.querySelectorAll(one)].some((element) => element.checkVisibility()))`,
  )) as boolean[];
  return selectors.filter((_, index) => seen[index]);
}

function rowOf(port: number): string {
  return `document.querySelector('tr[data-key="tcp/${port}"]')`;
}

function bearer(token: string) {
  return { authorization: `Bearer ${token}` };
}

const LIVE = "(document.querySelector('#state').textContent === 'Live')";
const CONTROLS = ['#new-mapping', '#mappings .action button', '#tokens-section', '#token-form button', '#audit-details'];
