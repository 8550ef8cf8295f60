import { spawnSync } from 'node:child_process';
import { build } from './build.mjs';
import { installGo, installPrograms } from './programs.mjs';
import { root, runAsScript, runTool, TSC } from './setup.mjs';

/** Builds, and does the experiments that are named as arguments (test/reliability/README.md): all without any. */
async function reliability() {
  const words = process.argv.slice(2);
  if (!words.some((word) => /^--?list$/.test(word))) installFor(words);
  build();
  runTool(TSC, ['-p', 'test/tsconfig.json']);
  const { status } = spawnSync(process.execPath, [`${root}build/test/reliability/run.js`, ...words], {
    cwd: root,
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
}

/** Go is large, and only one of them needs it. */
function installFor(names) {
  installPrograms();
  if (names.length === 0 || names.some((name) => name.startsWith('nettest'))) installGo();
}

await runAsScript(import.meta.url, reliability);
