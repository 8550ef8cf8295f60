import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * Installs the programs that the tests start and that are missing, where this is Debian with apt-get and root. Anywhere else, or
 * when it fails, it says which are missing: the tests that need them are then skipped.
 */
export function installPrograms() {
  install(() =>
    Object.keys(PACKAGE_OF)
      .filter((program) => !isInstalled(program))
      .map((program) => PACKAGE_OF[program])
      // Debian's has no path to its server: each version has a folder of its own.
      .concat(existsSync('/usr/lib/postgresql') ? [] : ['postgresql']),
  );
}

/** The same for Go and its network library, which one of the experiments on reliability needs. */
export function installGo() {
  install(() => [
    ...(isInstalled('go') ? [] : ['golang-go']),
    ...(existsSync('/usr/share/gocode/src/golang.org/x/net') ? [] : ['golang-golang-x-net-dev']),
  ]);
}

function install(missingPackages) {
  const missing = [...new Set(missingPackages())];
  if (missing.length === 0) return;
  if (!canInstall()) return warn(missing, 'there is no apt-get, or this user is not root');

  console.error(`Installing programs the tests use: ${missing.join(' ')}`);
  apt('update', []);
  apt('install', ['-y', '--no-install-recommends', ...missing]);
  const stillMissing = [...new Set(missingPackages())];
  if (stillMissing.length > 0) warn(stillMissing, 'apt-get could not install them');
}

function isInstalled(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => isExecutable(join(folder, program)));
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function canInstall() {
  return existsSync('/etc/debian_version') && isInstalled('apt-get') && process.getuid?.() === 0;
}

/** RUNLEVEL=1 keeps a web server or sshd from being started by its installation. */
function apt(command, args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  spawnSync('apt-get', ['-qq', '-o=Dpkg::Use-Pty=0', '-o=DPkg::Lock::Timeout=60', command, ...args], {
    env,
    stdio: ['ignore', 'ignore', process.stderr],
    timeout: APT_TIMEOUT_MS,
  });
}

function warn(packages, reason) {
  console.error(`Warning: missing ${packages.join(', ')} (${reason}); the tests that need them will be skipped.`);
}

const APT_TIMEOUT_MS = 180_000;

/** Debian's package by the program that the tests start. */
const PACKAGE_OF = {
  iperf3: 'iperf3',
  nginx: 'nginx-light',
  ab: 'apache2-utils',
  sshd: 'openssh-server',
  ssh: 'openssh-client',
  curl: 'curl',
  ip: 'iproute2',
  nft: 'nftables',
  gcc: 'gcc',
  openssl: 'openssl',
  'systemd-analyze': 'systemd',
  promtool: 'prometheus',
  zsh: 'zsh',
  fish: 'fish',
  chromium: 'chromium',
};
