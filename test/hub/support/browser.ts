import { existsSync } from 'node:fs';
import path from 'node:path';
import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import type { Owner } from '../../support/process.ts';
import { temporaryFolder } from '../../support/files.ts';

/** Why there can be no browser here; false when there can. */
export function missingBrowser(): string | false {
  return findBrowser() === undefined ? 'needs Chromium (Debian: chromium), or CHROMIUM with its path' : false;
}

/** Chromium without a window, which asks nobody else for anything; ended with the test. */
export async function startBrowser(t: Owner): Promise<Browser> {
  const browser = await puppeteer.launch({
    executablePath: findBrowser()!,
    userDataDir: temporaryFolder(t),
    // In containers and as root there is no sandbox of its own, and little /dev/shm.
    args: [
      '--no-sandbox',
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
    ],
  });
  t.teardown(() => browser.close());
  return browser;
}

/** A page with its own storage, and what went wrong in it: exceptions, console errors and violations of its policy. */
export async function openPage(browser: Browser): Promise<{ readonly page: Page; readonly wrong: string[] }> {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  const wrong: string[] = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warn') wrong.push(message.text());
  });
  await page.setViewport({ width: 1280, height: 900 });
  return { page, wrong };
}

/** What is seen of an element, without the blanks around it. */
export function textOf(page: Page, selector: string): Promise<string> {
  return page.$eval(selector, (element) => (element as unknown as { innerText: string }).innerText.trim());
}

/** Waits until `expression`, in the page, is true. */
export async function until(page: Page, expression: string): Promise<void> {
  await page.waitForFunction(expression, { timeout: 30_000, polling: 50 });
}

function findBrowser(): string | undefined {
  const { CHROMIUM, PATH = '' } = process.env;
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const found = PATH.split(path.delimiter).flatMap((folder) => names.map((name) => path.join(folder, name)));
  return [...(CHROMIUM === undefined ? [] : [CHROMIUM]), ...found].find((file) => existsSync(file));
}
