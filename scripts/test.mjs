import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from './build.mjs';
import { installPrograms } from './programs.mjs';
import { root, runAsScript, runTool, setup, TSC } from './setup.mjs';
import { runFiles } from './tap-files.mjs';

/**
 * Sets everything up, builds, and runs the tests: all of them, or those named as arguments (`test/x.test.ts` or
 * `build/test/x.test.js`). TAP_JOBS files run at once, two to four unless told otherwise; what else tap is to do is told by its variables, such as TAP_BAIL=1.
 * The last line is `N passed, N failed, N skipped`; exit 0 when none failed.
 */
async function test() {
  setup();
  installPrograms();
  build();
  compileTests();
  prepareTap();

  const named = process.argv.slice(2).map(compiledName);
  const { passed, failed, skipped } = await runFiles(named.length > 0 ? named : allTests());
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = failed > 0 ? 1 : 0;
}

function compileTests() {
  for (const folder of ['src', 'test']) rmSync(`${root}build/${folder}`, { recursive: true, force: true });
  runTool(TSC, ['-p', 'test/tsconfig.json']);
}

/** The plugin list in .taprc takes effect when tap has generated its test class for it, once per installation and list. */
function prepareTap() {
  const stamp = `${root}node_modules/.tap-built-for`;
  const wanted = readFileSync(`${root}.taprc`, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  runTool(TAP, ['build']);
  writeFileSync(stamp, wanted);
}

function compiledName(file) {
  return file.replace(/^(?:\.\/)?test\/(.*)\.ts$/, 'build/test/$1.js');
}

/** Those that take longest first, so that no core is idle in the end. */
function allTests() {
  const files = readdirSync(`${root}build/test`, { recursive: true }).filter((name) => name.endsWith('.test.js'));
  const slow = (name) => (name.startsWith('e2e') ? 0 : 1);
  return files.toSorted((a, b) => slow(a) - slow(b) || (a < b ? -1 : 1)).map((name) => `build/test/${name}`);
}

const TAP = 'tap/dist/esm/run.mjs';

await runAsScript(import.meta.url, test);
