import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'puppeteer-core';
import type { Owner } from '../../support/process.ts';
import { seededRandom } from '../../support/random.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import { missingBrowser, openPage, startBrowser, until } from '../support/browser.ts';
import { AGENT } from '../support/fake-publisher.ts';

/*
 * `npm run screenshots [FOLDER]`: pictures of the page with an hour of made-up traffic, as PNG.
 */

async function main(folder: string): Promise<void> {
  const missing = missingBrowser();
  if (missing !== false) throw new Error(`No screenshots: ${missing}`);
  mkdirSync(folder, { recursive: true });
  const after: (() => unknown)[] = [];
  try {
    await takeAll(folder, { teardown: (end) => void after.push(end) });
  } finally {
    for (const end of after.toReversed()) await end();
  }
}

async function takeAll(folder: string, owner: Owner): Promise<void> {
  const hub = await startTestApi(owner, { listening: false, page: path.resolve('dist/hub/page') });
  const tick = await liveAnHour(hub);
  const browser = await startBrowser(owner);
  for (const { name, width, height, dark, scene } of SHOTS) {
    const { page } = await openPage(browser);
    await page.setViewport({ width, height, deviceScaleFactor: 2 });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
    await page.goto(`http://127.0.0.1:${hub.port}/`);
    await until(page, "document.querySelectorAll('#mappings tbody tr').length > 0");
    for (let n = 0; n < 60; n++) tick();
    await until(page, "document.querySelector('#rate-out').textContent !== '–'");
    await scene?.(page);
    await page.screenshot({ path: path.join(folder, `${name}.png`) as `${string}.png`, fullPage: scene === undefined });
    console.log(path.join(folder, `${name}.png`));
    await page.close();
  }
}

/** Mappings, agents and an hour of traffic. @returns what lets another second pass */
async function liveAnHour({ call, publisher, live }: TestApi): Promise<() => void> {
  for (const mapping of MAPPINGS) {
    const { status, text } = await call('POST', '/api/v1/mappings', mapping);
    if (status !== 201) throw new Error(text);
  }
  const random = seededRandom(7);
  let second = 0;
  const start = Date.now() - 3_700_000;
  const tick = (): void => {
    second++;
    for (const [index, { port, protocol }] of MAPPINGS.entries()) {
      if (protocol === 'udp') continue;
      const wave = 1 + Math.sin(second / (200 + 90 * index)) + 0.4 * random();
      const state = publisher.mappings().find(({ mapping }) => mapping.port === port)!;
      const out = index === 3 ? 0 : 2 ** (21 - 2 * index) * wave;
      const connections = index === 3 ? 0 : Math.round((6 + 5 * wave) / (index + 1));
      publisher.carry(port, { connections, bytesIn: state.bytesIn + out / 9, bytesOut: state.bytesOut + out });
    }
    publisher.agentStates = AGENTS.map((agent, index) => ({
      ...AGENT,
      ...agent,
      since: new Date(start - 8_640_000 * (index + 1) ** 3),
      rtt: agent.rtt * (1 + 0.25 * random() ** 6),
      connections: 8 - 3 * index,
    }));
    live.tick(start + second * 1_000);
  };
  publisher.carry(10443, { ready: false, problem: 'The agent attic is away.' });
  while (second < 3_700) tick();
  return tick;
}

async function fillIn(page: Page): Promise<void> {
  await page.click('#new-mapping');
  await page.type('#create-port', '10022');
  await page.type('#create-target', '10.0.0.7');
  await page.type('#create-allow_ips', '192.0.2.0/24, 10.0.0.0/33');
  await page.focus('#create-note');
  await until(page, "document.querySelector('#create-allow_ips-problem').textContent !== ''");
}

async function openDetails(page: Page): Promise<void> {
  await page.click('#mappings tbody tr button');
  await until(page, "document.querySelector('#details-chart path')?.getAttribute('d') !== ''");
}

const MAPPINGS = [
  { port: 10022, protocol: 'tcp', target: '127.0.0.1:22', agent: 'cellar', note: 'SSH of the backup machine' },
  { port: 10080, protocol: 'tcp', target: '10.0.0.7:80', note: 'Wiki', bandwidth: '50Mbit' },
  {
    port: 10432,
    protocol: 'tcp',
    target: 'db.lan:5432',
    agent: 'office',
    allow_ips: ['192.0.2.0/24'],
    note: 'PostgreSQL, from the data centre only',
  },
  { port: 10443, protocol: 'tcp', target: '127.0.0.1:443', agent: 'attic', note: '' },
  { port: 15353, protocol: 'udp', target: '10.0.0.1:53', via: 'direct', note: 'DNS' },
];
const AGENTS = [
  { name: 'cellar', rtt: 12.5, loss: 0, peer: '192.0.2.9:41022', allow: ['127.0.0.1:*', '10.0.0.0/8:80-443'] },
  { name: 'office', rtt: 38.2, loss: 0.0031, peer: '198.51.100.23:52110', allow: ['db.lan:5432'], transport: 'tls' as const },
];
const SHOTS: readonly { name: string; width: number; height: number; dark: boolean; scene?: (page: Page) => Promise<void> }[] = [
  { name: 'hub-light', width: 1280, height: 900, dark: false },
  { name: 'hub-dark', width: 1280, height: 900, dark: true },
  { name: 'hub-phone', width: 390, height: 844, dark: false },
  { name: 'hub-create', width: 1280, height: 900, dark: false, scene: fillIn },
  { name: 'hub-details', width: 1280, height: 900, dark: true, scene: openDetails },
];

await main(path.resolve(process.argv[2] ?? 'build/screenshots'));
