import { spawnSync } from 'node:child_process';
import { build } from './build.mjs';
import { installPrograms } from './programs.mjs';
import { root, runAsScript, runTool, TSC } from './setup.mjs';

/** Builds, and does the experiments that are named as arguments (test/reliability/README.md): all without any. */
async function reliability() {
  const wanted = process.argv.slice(2);
  installPrograms();
  build();
  runTool(TSC, ['-p', 'test/tsconfig.json']);
  const { status } = spawnSync(process.execPath, [`${root}build/test/reliability/run.js`, ...wanted], {
    cwd: root,
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
}

await runAsScript(import.meta.url, reliability);
