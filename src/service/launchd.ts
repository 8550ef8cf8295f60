import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QtunnelError } from '../errors.ts';
import { launchdPlist, USER } from './launchd-plist.ts';
import { type Job, type Manager, refuseForeign, refuseObstacles, requireRoot, thisProgram, writeJob } from './manager.ts';
import { obstaclesOf } from './obstacles.ts';
import type { Home, Plan } from './plan.ts';
import { accountOf, ask, tellAll } from './tell.ts';

/**
 * macOS: a daemon of the system's.
 * @param root of the file system.
 */
export function launchd(root = '/'): Manager {
  const home: Home = { folder: (unit) => path.posix.join(root, '/var/db', unit), toldBy: 'environment' };
  const files = path.posix.join(root, '/etc/qtunnel');
  const plistFile = (unit: string): string => path.posix.join(root, '/Library/LaunchDaemons', `${unit}.plist`);
  const logFile = (unit: string): string => path.posix.join(root, '/var/log', `${unit}.log`);
  const obstacles = (plan: Plan): string[] => obstaclesOf(plan, thisProgram(), { user: USER, hidden: [], files });
  const job = (plan: Plan): Job => {
    const { unit, state } = plan;
    const log = logFile(unit);
    const file = plistFile(unit);
    return {
      file,
      text: launchdPlist(plan, thisProgram(), log),
      commands: [
        ['install', '-d', '-o', USER, '-m', '700', state],
        ['touch', log],
        ['chown', USER, log],
        ['launchctl', 'enable', target(unit)],
        ['launchctl', 'bootstrap', 'system', file],
      ],
    };
  };
  return {
    platform: 'darwin',
    home,
    job,
    obstacles,

    async install(plan) {
      requireRoot('install');
      const { file, text, commands } = job(plan);
      refuseForeign(file);
      requireUser();
      refuseObstacles(obstacles(plan));
      await unload(plan.unit);
      await writeJob(file, text);
      tellAll(commands, `see ${logFile(plan.unit)}`);
      return `${plan.unit} is loaded, and starts with the machine. Its log: ${logFile(plan.unit)}\n`;
    },

    async uninstall(unit) {
      requireRoot('uninstall');
      const file = plistFile(unit);
      if (!existsSync(file)) throw new QtunnelError('SERVICE_FAILED', `there is no service ${unit}: ${file} is not there`);
      refuseForeign(file);
      await unload(unit);
      rmSync(file);
      return `${unit} is stopped and removed; what it has remembered is still in ${home.folder(unit)}\n`;
    },

    status(unit) {
      const { code, stdout } = ask(['launchctl', 'print', target(unit)]);
      return {
        text: code === 0 ? stdout : `there is no service ${unit}\n`,
        runs: code === 0 && /^\s*state = running$/m.test(stdout),
      };
    },
  };
}

/** Made by hand: a free number is not to be found without races, and Apple's tool asks for one. */
function requireUser(): void {
  if (accountOf(USER) !== null) return;
  throw new QtunnelError(
    'SERVICE_FAILED',
    `nothing is installed: the user ${USER} that services run as is not there; make it, with a number that no other has: sudo sysadminctl -addUser ${USER} -roleAccount -UID 450`,
  );
}

/** Ends the service, if there is one, and waits until it has: `bootout` may return before, and until then the same name cannot be loaded again. */
async function unload(unit: string): Promise<void> {
  const isLoaded = (): boolean => ask(['launchctl', 'print', target(unit)]).code === 0;
  if (!isLoaded()) return;
  const { stderr } = ask(['launchctl', 'bootout', target(unit)]);
  for (let look = 0; isLoaded(); look++) {
    if (look === MOST_LOOKS)
      throw new QtunnelError('SERVICE_FAILED', `launchctl bootout ${target(unit)} did not end it: ${stderr.trim()}`);
    await sleep(MS_BETWEEN_LOOKS);
  }
}

function target(unit: string): string {
  return `system/${unit}`;
}

const MS_BETWEEN_LOOKS = 500;
/** Two minutes: launchd itself kills what has not ended after ExitTimeOut, which is 40 s unless -drain-timeout says otherwise. */
const MOST_LOOKS = 240;
