import { existsSync, rmSync } from 'node:fs';
import { QtunnelError } from '../errors.ts';
import {
  type Command,
  type Job,
  type Manager,
  refuseForeign,
  refuseObstacles,
  requireRoot,
  thisProgram,
  writeJob,
} from './manager.ts';
import { canNotify } from './notify.ts';
import { obstaclesOf } from './obstacles.ts';
import { type Plan, VAR_LIB } from './plan.ts';
import { systemdUnit, USER } from './systemd-unit.ts';
import { accountOf, ask, tell, tellAll } from './tell.ts';

/** Linux: a unit of the system's, run as a user that the installation makes. */
export const systemd: Manager = {
  platform: 'linux',
  home: VAR_LIB,
  job,
  obstacles: (plan) => obstaclesOf(plan, thisProgram(), { user: USER, hidden: TEMPORARY, files: '/etc/qtunnel' }),

  async install(plan) {
    requireSystemd('install');
    refuseForeign(unitFile(plan.unit));
    tellAll(userCommands());
    refuseObstacles(systemd.obstacles(plan));
    const { file, text, commands } = job(plan);
    await writeJob(file, text);
    tellAll(commands, `see journalctl -u ${plan.unit}`);
    return `${plan.unit} runs, and starts with the machine. Its log: journalctl -u ${plan.unit}\n`;
  },

  async uninstall(unit) {
    requireSystemd('uninstall');
    const file = unitFile(unit);
    if (!existsSync(file)) throw new QtunnelError('SERVICE_FAILED', `there is no service ${unit}: ${file} is not there`);
    refuseForeign(file);
    tell(['systemctl', '--quiet', 'disable', '--now', unit]);
    rmSync(file);
    tell(['systemctl', 'daemon-reload']);
    return `${unit} is stopped and removed; what it has remembered is still in ${VAR_LIB.folder(unit)}\n`;
  },

  status(unit) {
    if (!existsSync('/run/systemd/system')) throw notHere();
    const { stdout, code } = ask(['systemctl', '--no-pager', 'status', unit]);
    return { text: stdout === '' ? `there is no service ${unit}\n` : stdout, runs: code === 0 };
  },
};

function job(plan: Plan): Job {
  return {
    file: unitFile(plan.unit),
    text: systemdUnit(plan, { ...thisProgram(), notifies: canNotify() }),
    commands: [
      ...userCommands(),
      ['systemctl', 'daemon-reload'],
      ['systemctl', '--quiet', 'enable', plan.unit],
      ['systemctl', 'restart', plan.unit],
    ],
  };
}

/** None when it is there. */
function userCommands(): Command[] {
  return accountOf(USER) === null ? [['systemd-sysusers', '--inline', `u ${USER} - "qtunnel's services" / /usr/sbin/nologin`]] : [];
}

function requireSystemd(verb: string): void {
  if (!existsSync('/run/systemd/system')) throw notHere();
  requireRoot(verb);
}

function notHere(): QtunnelError {
  return new QtunnelError(
    'SERVICE_FAILED',
    'systemd does not run on this machine: qtunnel service install … -dry-run prints the unit for one where it does',
  );
}

function unitFile(unit: string): string {
  return `/etc/systemd/system/${unit}.service`;
}

/** PrivateTmp. */
const TEMPORARY = ['/tmp', '/var/tmp'];
