import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './files.ts';
import { type Owner, Program, run, start } from './process.ts';
import { missing } from './programs.ts';

/** Something like a machine of its own with systemd as its first process: /etc, /run, /var/lib, processes and network are its own. */
export interface SystemdMachine {
  /** What to put before a command that shall run there. */
  readonly prefix: readonly string[];
}

/** For a test's `skip` option. */
export function missingForSystemd(): string | false {
  if (process.getuid?.() !== 0) return 'namespaces need root';
  const absent = missing('systemctl', 'unshare', 'nsenter', 'ip');
  if (absent !== false) return absent;
  if (cgroups() === null) return 'no cgroup2 is mounted';
  const { status } = spawnSync('unshare', ['--pid', '--fork', '--mount', '--cgroup', '--net', 'true']);
  return status !== 0 && 'namespaces cannot be made here';
}

/**
 * Starts systemd, with the few targets that a service needs and no other unit of this machine's. `folder` is there as `/opt/qtunnel`. All of it ends with the test.
 */
export async function startSystemd(t: Owner, folder: string): Promise<SystemdMachine> {
  const own = temporaryFolder(t);
  writeUnits(own);
  const cgroup = join(cgroups()!, `qtunnel-test-${process.pid}`);
  mkdirSync(cgroup);
  t.teardown(() => removeCgroups(cgroup));
  const up = new Program('cat', [join(own, 'up')], {});
  t.teardown(() => up.kill());
  const machine = new Program('sh', ['-ec', IN_CGROUP, 'sh', own, folder, cgroup, MACHINE], {});
  t.teardown(() => end(machine));
  await up.line(/^up$/);
  return { prefix: ['nsenter', '-a', '-t', String(firstProcess(machine))] };
}

/** A command there, to its end. */
export function runThere(t: Owner, { prefix }: SystemdMachine, [command = '', ...args]: readonly string[]): Promise<string> {
  return run(t, command, args, { prefix });
}

/** A command there that has to fail with exit code 1: what it says. */
export async function failThere(t: Owner, { prefix }: SystemdMachine, line: string): Promise<string> {
  const [command = '', ...args] = line.split(' ');
  const program = start(t, command, args, { prefix });
  program.child.stdin!.end();
  const { code } = await program.end();
  return `${code === 1 ? '' : `exit code ${code}: `}${program.output}`;
}

/** The command there, where `folder` is the project's. */
export const THERE = `${process.execPath} /opt/qtunnel/dist/bin/qtunnel.js`;

/** Its first process takes all others along, and `unshare` waits until they have ended. */
async function end(machine: Program): Promise<void> {
  process.kill(firstProcess(machine), 'SIGKILL');
  await machine.end();
}

function firstProcess({ pid }: Program): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
}

function cgroups(): string | null {
  return / (\S+) cgroup2 /.exec(readFileSync('/proc/self/mounts', 'utf8'))?.[1] ?? null;
}

function removeCgroups(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroups(join(folder, entry.name));
  }
  rmdirSync(folder);
}

function writeUnits(folder: string): void {
  mkdirSync(join(folder, 'units'));
  const units = {
    ...Object.fromEntries(TARGETS.map((target) => [`${target}.target`, '[Unit]\nDefaultDependencies=no\n'])),
    'begin.target': '[Unit]\nDefaultDependencies=no\nWants=up.service\n',
    'up.service': `[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo up > ${folder}/up'\n`,
  };
  for (const [name, text] of Object.entries(units)) writeFileSync(join(folder, 'units', name), text);
  spawnSync('mkfifo', [join(folder, 'up')]);
}

const TARGETS = ['sysinit', 'basic', 'shutdown', 'multi-user', 'network-online'];

/** `$1`: the folder with the units, `$2`: what is to be /opt/qtunnel, `$3`: a control group of its own, `$4`: what to run in that. */
const IN_CGROUP = `
echo $$ > "$3/cgroup.procs"
exec unshare --cgroup --pid --fork --mount --mount-proc --ipc --uts --net sh -ec "$4" sh "$1" "$2"`;

/** The first program of the new namespaces becomes systemd itself. */
const MACHINE = `
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
cp -a /etc/. /mnt
mount --move /mnt /etc
mkdir -p /etc/systemd/system
for folder in /run /var/lib /opt; do mount -t tmpfs -o mode=755 tmpfs $folder; done
mkdir -p /opt/qtunnel /run/systemd/system
mount --bind "$2" /opt/qtunnel
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
exec env -i PATH="$PATH" container=test SYSTEMD_UNIT_PATH="$1/units:/etc/systemd/system" /lib/systemd/systemd --system --unit=begin.target --show-status=0`;
