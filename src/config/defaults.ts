import { homedir, totalmem } from 'node:os';
import path from 'node:path';
import type { Environment } from './environment.ts';
import { LEAST_MEMORY } from './flags/limits.ts';

/**
 * The folder for what survives a restart: systemd's `StateDirectory=`, else the XDG base directory specification's place, else
 * `/var/lib` for a service that runs as root without a home.
 */
export function defaultStateDir(environment: Environment, root = process.getuid?.() === 0): string {
  const [fromSystemd] = (environment['STATE_DIRECTORY'] ?? '').split(':');
  if (fromSystemd !== undefined && fromSystemd !== '') return fromSystemd;
  const { XDG_STATE_HOME: xdg, HOME: home } = environment;
  // The specification has relative paths ignored.
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, 'qtunnel');
  if (root && (home === undefined || home === '')) return '/var/lib/qtunnel';
  return path.join(home === undefined || home === '' ? homedir() : home, '.local', 'state', 'qtunnel');
}

/**
 * The memory that the process's cgroup may have (systemd's MemoryMax, a container's limit), since the kernel kills who comes to it; null without one, or where so little would refuse
 * everything.
 */
export function defaultMaxMemory(limit = process.constrainedMemory(), present = totalmem()): number | null {
  return limit >= LEAST_MEMORY && limit < present ? limit : null;
}

export function defaultKnownHosts(stateDir: string): string {
  return path.join(stateDir, 'known_hosts');
}
