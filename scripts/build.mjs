import { chmodSync, copyFileSync, existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { root, runAsScript, runTool, setup, TSC } from './setup.mjs';

/**
 * Compiles src/ to dist/. The new folder takes the old one's place as a whole: a failed build leaves the old one, a deleted source
 * file leaves nothing behind.
 */
export function build() {
  setup();
  const fresh = `${root}build/dist-${process.pid}`;
  try {
    runTool(TSC, ['-p', 'tsconfig.build.json', '--outDir', fresh]);
    buildPage(`${fresh}/hub/page`);
    chmodSync(`${fresh}/bin/qtunnel.js`, 0o755);
    rmSync(`${root}dist`, { recursive: true, force: true });
    renameSync(fresh, `${root}dist`);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** What the hub serves to browsers, which have other types than Node; and the types of the API beside it, which no browser loads. */
function buildPage(folder) {
  runTool(TSC, ['-p', 'src/hub/page/tsconfig.json', '--noEmit', 'false', '--outDir', `${folder}/../..`]);
  for (const name of ['index.html', 'style.css', 'icon.svg']) copyFileSync(`${root}src/hub/page/${name}`, `${folder}/${name}`);
}

/** Builds unless the command is there and newer than every source file. */
export function buildIfStale() {
  const command = `${root}dist/bin/qtunnel.js`;
  if (!existsSync(command) || newestTime(`${root}src`) > statSync(command).mtimeMs) build();
}

function newestTime(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Math.max(
    ...entries.filter((entry) => entry.isFile()).map((entry) => statSync(`${entry.parentPath}/${entry.name}`).mtimeMs),
  );
}

await runAsScript(import.meta.url, build);
