import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from './build.mjs';
import { installPrograms } from './programs.mjs';
import { root, runAsScript, runTool, setup, TSC } from './setup.mjs';
import { readTap } from './tap-report.mjs';

/**
 * Sets everything up, builds, and runs the tests: all of them, or those named as arguments (`test/x.test.ts` or
 * `build/test/x.test.js`; what begins with a dash goes to tap). The last line is `N passed, N failed, N skipped`; exit 0 when
 * none failed.
 */
async function test() {
  setup();
  installPrograms();
  build();
  compileTests();
  prepareTap();

  const { passed, failed, skipped } = await runTap(process.argv.slice(2));
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

async function runTap(args) {
  const options = args.filter((argument) => argument.startsWith('-'));
  const named = args.filter((argument) => !argument.startsWith('-')).map(compiledName);
  const files = named.length > 0 ? named : allTests();
  const tap = spawn(process.execPath, [`${root}node_modules/${TAP}`, 'run', '--reporter=tap', ...options, ...files], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => tap.once('close', resolve));
  const counts = await readTap(tap.stdout);
  const status = await exited;
  return status === 0 ? counts : { ...counts, failed: Math.max(1, counts.failed) };
}

function compiledName(file) {
  return file.replace(/^(?:\.\/)?test\/(.*)\.ts$/, 'build/test/$1.js');
}

function allTests() {
  return readdirSync(`${root}build/test`, { recursive: true })
    .filter((name) => name.endsWith('.test.js'))
    .toSorted()
    .map((name) => `build/test/${name}`);
}

const TAP = 'tap/dist/esm/run.mjs';

await runAsScript(import.meta.url, test);
