import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The project's folder, whatever the current one is. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Installs the packages of package-lock.json when they are missing or it is newer; otherwise does nothing and needs no network.
 *
 * Not by `npm ci`: it refuses a lock file that lacks the packages of other platforms, and npm leaves these out of the lock file where
 * the registry it asked does not have them.
 */
export function setup() {
  if (packagesAreCurrent()) return;
  console.error('Installing packages (npm install)');
  run('npm', ['install', '--no-save', '--include=dev', '--no-progress'], { env: environmentForNpm() });
}

/**
 * Runs a program in the project's folder with its output on this process's standard error, and throws when it fails. Standard
 * output stays clean: `npm pack --json` runs the build and prints its result there.
 */
export function run(program, args, options = {}) {
  const { status, signal, error } = spawnSync(program, args, {
    cwd: root,
    stdio: ['ignore', process.stderr, process.stderr],
    ...options,
  });
  if (error) throw new Error(`${program} cannot be started: ${error.message}`);
  if (status !== 0) throw new Error(`${[program, ...args].join(' ')} failed (${signal ?? `exit ${status}`})`);
}

/** Runs one of the project's own tools by the Node that runs this script. */
export function runTool(script, args) {
  run(process.execPath, [`${root}node_modules/${script}`, ...args]);
}

export const TSC = 'typescript/bin/tsc';

/** Calls `main` when the module with this URL is the script that Node was started with; one line and exit 1 when it throws. */
export async function runAsScript(url, main) {
  if (process.argv[1] !== fileURLToPath(url)) return;
  try {
    await main();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}

function packagesAreCurrent() {
  const installed = `${root}node_modules/.package-lock.json`;
  if (!existsSync(installed)) return false;
  if (statSync(`${root}package-lock.json`).mtimeMs <= statSync(installed).mtimeMs) return true;
  return holdsSameVersions(`${root}package-lock.json`, installed);
}

/** Git gives a file a new time with every switch of branches; only another set of packages is worth a new installation. */
function holdsSameVersions(wantedFile, installedFile) {
  const wanted = JSON.parse(readFileSync(wantedFile, 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, entry]) => path === '' || !isForHere(entry) || installed[path]?.version === entry.version,
  );
}

/** Packages for another platform are not installed, and of those for another C library one cannot tell here. */
function isForHere({ os = [process.platform], cpu = [process.arch], libc }) {
  return os.includes(process.platform) && cpu.includes(process.arch) && libc === undefined;
}

/** What `npm pack --dry-run` sets for its scripts would make the installation a dry run too. */
function environmentForNpm() {
  const { npm_config_dry_run: _dryRun, npm_config_omit: _omit, npm_config_global: _global, ...rest } = process.env;
  return rest;
}

await runAsScript(import.meta.url, setup);
