import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';

const OXLINT = join(process.cwd(), 'node_modules', 'oxlint', 'bin', 'oxlint');

/** What must not be in src/protocol/, each with the rule that finds it. */
const FORBIDDEN: [code: string, rule: string][] = [
  ['export const it = Date.now();', 'no-restricted-globals'],
  ['export const it = new Date();', 'no-restricted-globals'],
  ['export const it = performance.now();', 'no-restricted-globals'],
  ['setTimeout(() => undefined, 1);', 'no-restricted-globals'],
  ['export const it = crypto.randomUUID();', 'no-restricted-globals'],
  ['export const it = process.pid;', 'no-restricted-globals'],
  ['export const it = Buffer.from([]);', 'no-restricted-globals'],
  ['export const it = globalThis.process;', 'no-restricted-globals'],
  ['export const it = Math.random();', 'no-restricted-properties'],
  ["export { createHmac } from 'node:crypto';", 'no-restricted-imports'],
  ["import { readFileSync } from 'fs';\nexport const it = readFileSync;", 'no-restricted-imports'],
  ["import type { Link } from '../link/link.ts';\nexport type It = Link;", 'no-restricted-imports'],
  ["export const it = import('node:fs');", 'no-restricted-imports'],
];

const ALLOWED = [
  "import { QtunnelError } from '../errors.ts';",
  "import { frame } from './frames.ts';",
  'export const it = [QtunnelError, frame, Math.min(1, 2)];',
].join('\n');

test('the lint rules keep clock, timers, randomness and Node out of the protocol core, and nowhere else', async (t) => {
  // Not t.testdir(): it is below the repository, which ignores it, and so does oxlint.
  const directory = mkdtempSync(join(tmpdir(), 'qtunnel-lint-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, '.oxlintrc.json'), readFileSync('.oxlintrc.json'));
  for (const layer of ['protocol', 'tunnel']) {
    mkdirSync(join(directory, 'src', layer), { recursive: true });
    FORBIDDEN.forEach(([code], i) => writeFileSync(join(directory, 'src', layer, `probe${i}.ts`), `${code}\n`));
  }
  writeFileSync(join(directory, 'src/protocol/allowed.ts'), `${ALLOWED}\n`);
  const found = restrictionsIn(directory);
  t.same(
    FORBIDDEN.map(([code], i) => [code, found.get(`src/protocol/probe${i}.ts`)]),
    FORBIDDEN,
  );
  t.notOk(found.has('src/protocol/allowed.ts'));
  t.notOk([...found.keys()].some((file) => file.startsWith('src/tunnel/')));
});

/** The restricting rule that was broken, by file. */
function restrictionsIn(directory: string): Map<string, string> {
  const { stdout } = spawnSync(process.execPath, [OXLINT, '--config', '.oxlintrc.json', '-f', 'unix', 'src'], {
    cwd: directory,
    encoding: 'utf8',
  });
  const found = new Map<string, string>();
  for (const [, file, rule] of stdout.matchAll(/^(\S+?):\d+:\d+:.*eslint\((no-restricted-\w+)\)\]$/gm)) found.set(file!, rule!);
  return found;
}
