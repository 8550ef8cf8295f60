import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { QtunnelError } from '../errors.ts';
import { stageFile } from '../identity/files.ts';
import { type Account, obstacleFor } from './access.ts';
import { canNotify } from './notify.ts';
import { isWithin, type Plan } from './plan.ts';
import { MARK, type Program, systemdUnit, USER } from './systemd-unit.ts';

/** The unit that `install` writes. */
export function unitText(plan: Plan): string {
  return systemdUnit(plan, thisProgram());
}

/** What the service could not read or write: sentences with what to do about it, none when all is well. @throws QtunnelError `FILE_UNREADABLE` */
export function obstacles({ reads, writes }: Plan): string[] {
  const { node, script } = thisProgram();
  const account = accountOf(USER) ?? NOBODY;
  return [
    ...[node, script].flatMap((file) => programObstacle(account, file)),
    ...reads.flatMap((file) => fileObstacle(account, file)),
    ...writes.flatMap((folder) => folderObstacle(account, folder)),
  ];
}

/**
 * Makes the user, writes the unit, and starts it.
 * @returns what to tell the user.
 * @throws QtunnelError `SERVICE_FAILED`, `FILE_UNREADABLE` for what the service's user cannot read, `FILE_EXISTS` for another unit of this name.
 */
export async function install(plan: Plan): Promise<string> {
  requireSystemd('install');
  const file = unitFile(plan.unit);
  refuseForeign(file);
  if (accountOf(USER) === null) {
    tell('systemd-sysusers', ['--inline', `u ${USER} - "qtunnel's services" / /usr/sbin/nologin`]);
  }
  const problems = obstacles(plan);
  if (problems.length > 0) throw new QtunnelError('FILE_UNREADABLE', `nothing is installed: ${problems.join(' ')}`);
  await write(file, unitText(plan));
  tell('systemctl', ['daemon-reload']);
  tell('systemctl', ['--quiet', 'enable', plan.unit]);
  tell('systemctl', ['restart', plan.unit], `see journalctl -u ${plan.unit}`);
  return `${plan.unit} runs, and starts with the machine. Its log: journalctl -u ${plan.unit}\n`;
}

/** Stops the service and removes its unit; what it has remembered stays. @throws QtunnelError `SERVICE_FAILED`, `FILE_EXISTS` */
export function uninstall(unit: string): string {
  requireSystemd('uninstall');
  const file = unitFile(unit);
  if (!existsSync(file)) throw new QtunnelError('SERVICE_FAILED', `there is no service ${unit}: ${file} is not there`);
  refuseForeign(file);
  tell('systemctl', ['--quiet', 'disable', '--now', unit]);
  rmSync(file);
  tell('systemctl', ['daemon-reload']);
  return `${unit} is stopped and removed; what it has remembered is still in /var/lib/${unit}\n`;
}

/** What systemd says of the service, and whether it runs. @throws QtunnelError `SERVICE_FAILED` */
export function status(unit: string): { text: string; runs: boolean } {
  if (!existsSync('/run/systemd/system')) throw notHere();
  const { stdout, status: code } = spawnSync('systemctl', ['--no-pager', 'status', unit], { encoding: 'utf8' });
  return { text: stdout === '' ? `there is no service ${unit}\n` : stdout, runs: code === 0 };
}

function thisProgram(): Program {
  return { node: process.execPath, script: realpathSync(process.argv[1] ?? ''), notifies: canNotify() };
}

function requireSystemd(verb: string): void {
  if (!existsSync('/run/systemd/system')) throw notHere();
  if (process.getuid?.() !== 0) throw new QtunnelError('SERVICE_FAILED', `only root may do this: sudo qtunnel service ${verb} …`);
}

function notHere(): QtunnelError {
  return new QtunnelError(
    'SERVICE_FAILED',
    'systemd does not run on this machine: qtunnel service install … -dry-run prints the unit for one where it does',
  );
}

function refuseForeign(file: string): void {
  if (!existsSync(file) || readFileSync(file, 'utf8').startsWith(MARK)) return;
  throw new QtunnelError(
    'FILE_EXISTS',
    `${file} is there and was not made by qtunnel service install: remove it, or choose another -name`,
  );
}

async function write(file: string, text: string): Promise<void> {
  try {
    const staged = await stageFile(file, text, 0o644);
    try {
      await staged.replace();
    } finally {
      await staged.discard();
    }
  } catch (cause) {
    throw new QtunnelError('SERVICE_FAILED', `${file} cannot be written: ${String((cause as Error).message)}`, { cause });
  }
}

function tell(program: string, args: readonly string[], hint = ''): void {
  const { status: code, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (code === 0) return;
  const said = [error?.message ?? stderr.trim(), hint].filter((text) => text !== '').join('; ');
  throw new QtunnelError('SERVICE_FAILED', `${program} ${args.join(' ')} failed: ${said}`);
}

/** Null when there is no such user. */
function accountOf(user: string): Account | null {
  const ask = (flag: string): string => spawnSync('id', [flag, user], { encoding: 'utf8' }).stdout?.trim() ?? '';
  const uid = ask('-u');
  return uid === '' ? null : { uid: Number(uid), gids: ask('-G').split(' ').map(Number) };
}

function programObstacle(account: Account, file: string): string[] {
  if (isHidden(file)) return [`${hidden(file)}.`];
  const closed = obstacleFor(account, file, 'read');
  return closed === null
    ? []
    : [`The service's user ${USER} cannot run ${file}, since ${closed} is closed to it: install Node and qtunnel for all users.`];
}

function fileObstacle(account: Account, file: string): string[] {
  if (isHidden(file)) return [`${hidden(file)}, for instance to /etc/qtunnel.`];
  const closed = obstacleFor(account, file, 'read');
  if (closed === null) return [];
  return closed === file
    ? [`The service's user ${USER} cannot read ${file}: chown ${USER} ${file}`]
    : [
        `The service's user ${USER} cannot read ${file}, since ${closed} is closed to it: move it to /etc/qtunnel, and chown ${USER} it.`,
      ];
}

function folderObstacle(account: Account, folder: string): string[] {
  const make = `install -d -o ${USER} -m 700 ${folder}`;
  if (!existsSync(folder)) return [`The service cannot make ${folder}: ${make}`];
  return obstacleFor(account, folder, 'write') === null ? [] : [`The service's user ${USER} cannot write in ${folder}: ${make}`];
}

/** PrivateTmp. */
function isHidden(file: string): boolean {
  return TEMPORARY.some((folder) => isWithin(folder, file));
}

function hidden(file: string): string {
  return `${file} is in a folder of which a service has one of its own: move it`;
}

function unitFile(unit: string): string {
  return `/etc/systemd/system/${unit}.service`;
}

/** Somebody with no rights of his own, for a user that is not there yet. */
const NOBODY: Account = { uid: -1, gids: [] };
const TEMPORARY = ['/tmp', '/var/tmp'];
