import tap, { test } from 'tap';
import type { Browser, Page } from 'puppeteer-core';
import { missingBrowser, openPage, startBrowser, textOf, until } from '../hub/support/browser.ts';
import { callApi } from '../hub/support/api.ts';
import { temporaryFolder } from '../support/files.ts';
import type { Owner } from '../support/process.ts';
import { type Qtunnel, startQtunnel } from '../support/qtunnel.ts';
import { serverFolder } from '../support/server-folder.ts';
import { dial, echoServer, freePort, listen } from '../support/tcp.ts';

/* The hub's page in a browser, as somebody uses it. */

const skip = missingBrowser();
let hubOfAll: Promise<Hub> | null = null;
let browserOfAll: Promise<Browser> | null = null;

test('by keyboard alone a mapping is made, its traffic seen as it flows, and removed', { skip }, async (t) => {
  const { page, wrong } = await openHub();
  const [echo, port] = [await echoServer(t), await freePort()];
  await until(page, "document.querySelector('#agents tbody td strong')?.textContent === 'box'");
  await tabTo(page, '#new-mapping');
  await page.keyboard.press('Enter');
  await page.keyboard.type(String(port));
  await tabTo(page, '#create-target');
  await page.keyboard.type(`127.0.0.1:${echo}`);
  await page.keyboard.press('Enter');
  await until(page, `document.querySelector('tr[data-key="tcp/${port}"] .badge')?.textContent === 'ready'`);
  t.equal(await textOf(page, '#announcement'), `tcp/${port} leads to 127.0.0.1:${echo}`);

  const visitor = await dial(t, port);
  const flow = setInterval(() => visitor.write(Buffer.alloc(20_000)), 20);
  visitor.resume();
  const cell = (n: number) => `document.querySelector('tr[data-key="tcp/${port}"] td:nth-child(${n})').textContent`;
  await until(page, `${cell(4)} === '1' && /[1-9].* [KM]bit/.test(${cell(5)}) && /[1-9].* [KM]bit/.test(${cell(6)})`);
  t.match(await textOf(page, '#agents tbody'), /box.*QUIC.* ms/s);
  t.match(await textOf(page, '#rate-out'), /bit\/s/);
  clearInterval(flow);

  await tabTo(page, `tr[data-key="tcp/${port}"] .action button`);
  await page.keyboard.press('Enter');
  await until(page, "document.querySelector('#confirm').open");
  t.equal(await textOf(page, '#confirm-text'), `It leads to 127.0.0.1:${echo}. 1 open connection is cut off.`);
  await tabTo(page, '#confirm .danger');
  await page.keyboard.press('Enter');
  await until(page, `document.querySelector('tr[data-key="tcp/${port}"]') === null && document.activeElement.id === 'new-mapping'`);
  await t.rejects(dial(t, port));
  t.same(wrong, []);
});

test('a wrong entry says what is expected, as it is typed or when the hub finds out', { skip }, async (t) => {
  const { hub, page } = await openHub();
  const taken = await freePort();
  await hub.call('POST', '/api/v1/mappings', { port: taken, target: '127.0.0.1:22' });
  await until(page, `document.querySelector('tr[data-key="tcp/${taken}"]') !== null`);
  await page.click('#new-mapping');
  const enter = async (name: string, text: string): Promise<string> => {
    await page.$eval(`#create-${name}`, (field) => (field as unknown as { select(): void }).select());
    await page.type(`#create-${name}`, text);
    const place = `#create-${name}-problem`;
    const before = await page.$eval(place, (element) => element.textContent);
    await until(page, `![${JSON.stringify(before)}, ''].includes(document.querySelector('${place}').textContent)`);
    t.equal(await page.$eval(`#create-${name}`, (field) => field.getAttribute('aria-invalid')), 'true');
    return textOf(page, place);
  };
  t.equal(await enter('port', '99999'), 'expected a port from 1 to 65535');
  t.equal(await enter('port', String(taken)), `tcp/${taken} leads to 127.0.0.1:22 already`);
  t.equal(await enter('target', 'nowhere'), 'expected an address such as 127.0.0.1:22 or [::1]:22');
  t.match(await enter('allow_ips', '192.0.2.0/24 10.0.0.0/33'), /^expected a network such as .*, got "10\.0\.0\.0\/33"$/);
  t.match(await enter('bandwidth', 'fast'), /^expected bits a second from 8000 /);
  t.equal(await enter('port', '9999'), "expected one of this hub's ports, 10000 to 30000");
  // What only the hub knows.
  const used = await listen(t, () => {}, await freePort());
  for (const [name, text] of [
    ['target', 'localhost:22'],
    ['allow_ips', '192.0.2.0/24'],
    ['bandwidth', '10Mbit'],
    ['port', String(used)],
  ]) {
    await page.$eval(`#create-${name}`, (field) => (field as unknown as { select(): void }).select());
    await page.type(`#create-${name}`, text!);
  }
  await page.keyboard.press('Enter');
  await until(page, "document.querySelector('#create-port-problem').textContent.includes('another program')");
  t.equal(await page.evaluate('document.activeElement.id'), 'create-port');
  t.equal(await page.$$eval('#create [aria-invalid]', ({ length }) => length), 1);
});

test('hostile notes are text, and the page lets no other script run', { skip }, async (t) => {
  const { hub, page, wrong, requests } = await openHub();
  const port = await freePort();
  const row = `tr[data-key="tcp/${port}"]`;
  const note = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>"\'>\u202E';
  await hub.call('POST', '/api/v1/mappings', { port, target: '127.0.0.1:22', note });
  await until(page, `document.querySelector('${row}') !== null`);
  await page.click(`${row} button`);
  await until(page, "document.querySelector('#details').open");
  t.equal(await page.$eval(`${row} .note-text`, (element) => element.textContent), note);
  t.ok((await page.$eval('#details-facts', (element) => element.textContent))!.includes(note));
  t.equal(await page.evaluate("document.querySelectorAll('table img, table script, dl img').length"), 0);
  t.equal(await page.evaluate('window.ran'), undefined);
  t.same(wrong, []);
  const tried = (script: string) =>
    page.evaluate(`(() => { try { ${script}; return 'done' } catch (error) { return error.name } })()`);
  t.equal(await tried("document.body.innerHTML = '<b>x</b>'"), 'TypeError', 'no text becomes HTML');
  await tried("const s = document.createElement('script'); s.textContent = 'window.ran=1'; document.body.append(s)");
  await tried(
    "const b = document.createElement('button'); b.setAttribute('onclick', 'window.ran=1'); document.body.append(b); b.click()",
  );
  t.equal(await page.evaluate('window.ran'), undefined);
  t.same([...new Set(requests.map((url) => new URL(url).origin))], [hub.url], 'asks nobody else');
});

test(
  'tokens: the first one is signed in with, one that may read changes nothing, and none is seen anywhere',
  { skip },
  async (t) => {
    const { hub, page, requests } = await openPageOf(await startHub(t));
    await until(page, "!document.querySelector('#no-tokens').hidden");
    const ops = await makeToken(page, 'ops', 'manage');
    const eyes = await makeToken(page, 'eyes', 'read');
    t.equal((await hub.call('GET', '/api/v1/mappings')).status, 401);
    await until(
      page,
      "document.querySelectorAll('#tokens tbody tr').length === 2 && document.querySelector('#state').textContent === 'Live'",
    );
    await page.reload();
    await until(page, "document.querySelector('#state').textContent === 'Live'");

    await page.click('#sign-out');
    await signIn(page, `qth_${'0'.repeat(12)}_${'A'.repeat(43)}`);
    await until(page, "document.querySelector('#token-problem').textContent.startsWith('There is no such token')");
    t.equal(await page.evaluate('document.body.innerText.includes("Public port")'), false, 'nothing is shown to who has none');
    await signIn(page, eyes);
    await until(page, "document.querySelector('#state').textContent === 'Live'");
    t.same(await page.$$eval('#new-mapping:not([hidden]), #tokens-section:not([hidden])', ({ length }) => length), 0);

    await hub.call('DELETE', `/api/v1/tokens/${eyes.split('_')[1]}`, undefined, { authorization: `Bearer ${ops}` });
    await until(page, "!document.querySelector('#sign-in').hidden");
    t.equal(await page.evaluate('sessionStorage.length'), 0);
    t.same(
      requests.filter((url) => url.includes('qth_')),
      [],
    );
    t.notMatch(hub.process.output, /qth_/);
  },
);

test('on a phone nothing is cut off, and the dark is dark', { skip }, async (t) => {
  const { hub, page } = await openHub();
  const port = await freePort();
  await hub.call('POST', '/api/v1/mappings', { port, target: `${'long-name.'.repeat(12)}example:22`, note: 'x'.repeat(256) });
  await page.setViewport({ width: 320, height: 640, isMobile: true, hasTouch: true });
  await until(page, `document.querySelector('tr[data-key="tcp/${port}"]') !== null`);
  const width = () => page.evaluate('document.documentElement.scrollWidth');
  t.equal(await width(), 320);
  await page.tap('#new-mapping');
  t.ok(await page.$eval('#create', (dialog) => (dialog as unknown as { scrollWidth: number }).scrollWidth <= 320));
  t.equal(await width(), 320);
  const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor');
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
  t.equal(await ground(), 'rgb(244, 246, 248)');
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  t.equal(await ground(), 'rgb(15, 20, 25)');
});

test('when the hub is away the page says so, and goes on when it is back', { skip }, async (t) => {
  const { hub, page } = await openHub();
  await hub.process.kill('SIGKILL');
  await until(page, "document.querySelector('#state').textContent.startsWith('Away')");
  const back = await startHub(t, hub);
  await until(page, "document.querySelector('#state').textContent === 'Live'");
  const port = await freePort();
  await back.call('POST', '/api/v1/mappings', { port, target: '127.0.0.1:22' });
  await until(page, `document.querySelector('tr[data-key="tcp/${port}"]') !== null`);
  t.match(await textOf(page, `tr[data-key="tcp/${port}"] td:nth-child(2)`), /127\.0\.0\.1:22 through any agent/);
});

interface Hub {
  readonly process: Qtunnel;
  /** For agents. */
  readonly port: number;
  readonly api: number;
  /** The API's origin. */
  readonly url: string;
  readonly call: (method: string, path: string, body?: unknown, headers?: Record<string, string>) => ReturnType<typeof callApi>;
}

/** The page of the hub of all tests that are content with one; it has an agent. */
async function openHub() {
  return openPageOf(await (hubOfAll ??= startHubOfAll()));
}

async function startHubOfAll(): Promise<Hub> {
  const hub = await startHub(tap);
  startQtunnel(tap, ['agent', `-server=127.0.0.1:${hub.port}`, '-name=box', `-state-dir=${temporaryFolder(tap)}`]);
  return hub;
}

async function openPageOf(hub: Hub) {
  const { page, wrong } = await openPage(await (browserOfAll ??= startBrowser(tap)));
  const requests: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(hub.url);
  await until(page, "document.querySelector('#state').textContent === 'Live'");
  return { hub, page, wrong, requests };
}

async function startHub(t: Owner, before?: Hub): Promise<Hub> {
  const { port, api } = before ?? { port: await freePort(), api: await freePort() };
  const flags = [
    `-listen=127.0.0.1:${port}`,
    `-api=127.0.0.1:${api}`,
    '-ports=127.0.0.1:10000-30000',
    `-state-dir=${serverFolder(t)}`,
  ];
  const process = startQtunnel(t, ['hub', ...flags]);
  await process.event('api');
  return { process, port, api, url: `http://127.0.0.1:${api}`, call: (...words) => callApi(api, ...words) };
}

/** Presses Tab until it is there. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let n = 0; n < 40; n++) {
    if (await page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not lead to ${selector}`);
}

async function makeToken(page: Page, name: string, role: string): Promise<string> {
  await page.type('#token-name', name);
  await page.select('#token-role', role);
  await page.click('#token-form button[type=submit]');
  await until(
    page,
    `!document.querySelector('#new-token').hidden && document.querySelector('#new-token-name').textContent === '${name}'`,
  );
  return textOf(page, '#new-token-text');
}

async function signIn(page: Page, token: string): Promise<void> {
  await page.type('#token', token);
  await page.click('#sign-in-form button');
}
