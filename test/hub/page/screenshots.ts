import { createSocket } from 'node:dgram';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'puppeteer-core';
import { temporaryFolder } from '../../support/files.ts';
import type { Owner } from '../../support/process.ts';
import { progress } from '../../support/progress.ts';
import { startQtunnel } from '../../support/qtunnel.ts';
import { seededRandom } from '../../support/random.ts';
import { withScope } from '../../support/scope.ts';
import { startHub } from '../hubs.ts';
import { type RunningApi, startApiOf } from '../support/api.ts';
import { missingBrowser, openPage, startBrowser, until } from '../support/browser.ts';
import { answerWithBytes, echoDatagrams, Visitors } from './visitors.ts';

/*
 * `npm run screenshots`: pictures of a hub's page. Its agents, mappings and traffic are real; only its clock runs faster, so that the last hour takes a minute.
 * As PNG in build/screenshots; and
 * those of the README as SVG in docs/images.
 */

async function main(): Promise<void> {
  const absent = missingBrowser();
  if (absent !== false) throw new Error(`No screenshots: ${absent}`);
  for (const folder of [PIXELS, DRAWINGS]) mkdirSync(folder, { recursive: true });
  await withScope(takeAll);
}

async function takeAll(owner: Owner): Promise<void> {
  const { api, tick } = await liveAnHour(owner);
  const browser = await startBrowser(owner);
  for (const { name, width, height, dark, scene, drawn } of SHOTS) {
    const { page } = await openPage(browser);
    await page.setViewport({ width, height, deviceScaleFactor: 2 });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
    await page.goto(`http://127.0.0.1:${api.port}/`);
    await until(page, "document.querySelectorAll('#mappings tbody tr').length > 0");
    for (let n = 0; n < 60; n++) await tick();
    await until(page, "document.querySelector('#rate-out').textContent !== '–'");
    await scene?.(page);
    const file = path.join(PIXELS, `${name}.png`);
    await page.screenshot({ path: file as `${string}.png`, fullPage: scene === undefined });
    progress(file);
    if (drawn === true) await draw(page, path.join(DRAWINGS, `${name}.svg`));
    await page.close();
  }
}

/** The page as an SVG, which the README can show without a picture's bytes in the repository. */
async function draw(page: Page, file: string): Promise<void> {
  const [icon, script] = ['src/hub/page/icon.svg', 'test/hub/page/draw.js'].map((source) => readFileSync(source, 'utf8'));
  writeFileSync(file, String(await page.evaluate(`const ICON = ${JSON.stringify(icon!.trim())};\n${script!}`)));
  progress(file);
}

/** A hub with agents, mappings and an hour of traffic. `tick` lets another second pass. */
async function liveAnHour(owner: Owner): Promise<{ readonly api: RunningApi; tick(): Promise<void> }> {
  const { hub, settings } = await startHub(owner, {}, { ports: { host: '127.0.0.1', first: 10_000, last: 20_000 } });
  const api = await startApiOf(owner, hub, { page: path.resolve('dist/hub/page') });
  const server = `-server=127.0.0.1:${settings.tunnel.listen!.port}`;
  for (const { name, flags } of AGENTS) {
    const agent = startQtunnel(owner, ['agent', server, `-name=${name}`, `-state-dir=${temporaryFolder(owner)}`, ...flags]);
    await agent.event('registered');
  }
  await echoDatagrams(owner, '127.10.0.1', 1053);
  const resolver = dnsClient(owner, 15_353);
  const visitors = await Promise.all(
    MAPPINGS.map(async ({ busy, ...mapping }) => {
      const { status, text } = await api.call('POST', '/api/v1/mappings', mapping);
      if (status !== 201) throw new Error(text);
      if (busy === undefined) return null;
      const [host, port] = mapping.target.split(':');
      await answerWithBytes(owner, host!, Number(port));
      return { ...busy, some: new Visitors(owner, mapping.port) };
    }),
  );
  const random = seededRandom(7);
  const start = Date.now();
  let second = 0;
  const tick = async (): Promise<void> => {
    second++;
    const visits = visitors.flatMap((one) => (one === null ? [] : [one]));
    const fetches = visits.map(async ({ some, bytes, people, period }) => {
      const wave = 1 + Math.sin(second / period) + 0.4 * random();
      if (second % 10 === 1) await some.be(Math.max(1, Math.round((people * wave) / 2)));
      await some.fetch(bytes * wave);
    });
    await Promise.all([...fetches, resolver()]);
    api.live.tick(start + second * 1_000);
  };
  while (second < HOUR) {
    await tick();
    if (second % 600 === 0) progress(`${second / 60} minutes of traffic`);
  }
  return { api, tick };
}

/** @returns what asks the resolver at this public port three times, and waits for the answers. */
function dnsClient(owner: Owner, port: number): () => Promise<void> {
  const socket = createSocket('udp4');
  owner.teardown(() => socket.close());
  return async () => {
    const answers = new Promise<void>((resolve) => {
      let missed = 3;
      socket.on('message', function count() {
        if (--missed > 0) return;
        socket.off('message', count);
        resolve();
      });
    });
    for (let n = 0; n < 3; n++) socket.send(Buffer.alloc(60), port, '127.0.0.1');
    await answers;
  };
}

async function fillIn(page: Page): Promise<void> {
  await page.click('#new-mapping');
  await page.type('#create-port', '10080');
  await page.type('#create-target', '10.0.0.7');
  await page.type('#create-allow_ips', '192.0.2.0/24, 10.0.0.0/33');
  await page.focus('#create-note');
  await until(page, "document.querySelector('#create-allow_ips-problem').textContent !== ''");
}

async function openDetails(page: Page): Promise<void> {
  await page.click('#mappings tbody tr button');
  await until(page, "document.querySelector('#details-chart path')?.getAttribute('d') !== ''");
}

interface MappingShown {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly target: string;
  readonly note: string;
  readonly agent?: string;
  readonly via?: 'direct';
  readonly allow_ips?: readonly string[];
  /** How many people fetch how many bytes a second on average, and after how many seconds it comes and goes again. */
  readonly busy?: { readonly bytes: number; readonly people: number; readonly period: number };
}

const AGENTS = [
  { name: 'cellar', flags: ['-allow=127.10.0.0/24:1024-65535'] },
  { name: 'office', flags: ['-quic=false', '-allow=127.10.0.9:5432'] },
];
const MAPPINGS: readonly MappingShown[] = [
  {
    port: 10080,
    protocol: 'tcp',
    target: '127.10.0.7:8080',
    agent: 'cellar',
    note: 'Wiki',
    busy: { bytes: 400_000, people: 14, period: 280 },
  },
  {
    port: 10432,
    protocol: 'tcp',
    target: '127.10.0.9:5432',
    agent: 'office',
    allow_ips: ['127.0.0.0/8'],
    note: 'PostgreSQL, from the data centre only',
    busy: { bytes: 90_000, people: 6, period: 420 },
  },
  { port: 10443, protocol: 'tcp', target: '127.0.0.1:443', agent: 'attic', note: '' },
  {
    port: 10800,
    protocol: 'tcp',
    target: '127.10.0.5:8000',
    note: 'Backups, through any agent',
    busy: { bytes: 150_000, people: 2, period: 610 },
  },
  { port: 15353, protocol: 'udp', target: '127.10.0.1:1053', via: 'direct', note: 'DNS' },
];
const SHOTS: readonly Shot[] = [
  { name: 'hub-light', width: 1280, height: 900, dark: false, drawn: true },
  { name: 'hub-dark', width: 1280, height: 900, dark: true, drawn: true },
  { name: 'hub-phone', width: 390, height: 844, dark: false, drawn: true },
  { name: 'hub-create', width: 1280, height: 900, dark: false, scene: fillIn },
  { name: 'hub-details', width: 1280, height: 900, dark: true, scene: openDetails },
];

interface Shot {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly dark: boolean;
  /** What is done before; without it, the whole page is taken. */
  readonly scene?: (page: Page) => Promise<void>;
  /** Also for the README. */
  readonly drawn?: true;
}

/** Seconds. */
const HOUR = 3_600;
const PIXELS = 'build/screenshots';
const DRAWINGS = 'docs/images';

await main();
