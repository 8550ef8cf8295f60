import { existsSync } from 'node:fs';
import { type Account, obstacleFor } from './access.ts';
import type { Program } from './manager.ts';
import { isWithin, type Plan } from './plan.ts';
import { accountOf } from './tell.ts';

/** Whom a service runs as, and what it sees of the machine. */
export interface Confinement {
  readonly user: string;
  /** Of which it has others than the machine's. */
  readonly hidden: readonly string[];
  /** Where the files that it reads are well kept. */
  readonly files: string;
}

/** What the service could not read or write: sentences with what to do about it, none when all is well. @throws QtunnelError `FILE_UNREADABLE` */
export function obstaclesOf({ reads, writes }: Plan, { node, script }: Program, confinement: Confinement): string[] {
  const account = accountOf(confinement.user) ?? NOBODY;
  return [
    ...[node, script].flatMap((file) => programObstacle(account, file, confinement)),
    ...reads.flatMap((file) => fileObstacle(account, file, confinement)),
    ...writes.flatMap((folder) => folderObstacle(account, folder, confinement)),
  ];
}

function programObstacle(account: Account, file: string, { user, hidden }: Confinement): string[] {
  if (isAnyIn(hidden, file)) return [`${inHidden(file)}.`];
  const closed = obstacleFor(account, file, 'read');
  return closed === null
    ? []
    : [`The service's user ${user} cannot run ${file}, since ${closed} is closed to it: install Node and qtunnel for all users.`];
}

function fileObstacle(account: Account, file: string, { user, hidden, files }: Confinement): string[] {
  if (isAnyIn(hidden, file)) return [`${inHidden(file)}, for instance to ${files}.`];
  const closed = obstacleFor(account, file, 'read');
  if (closed === null) return [];
  return closed === file
    ? [`The service's user ${user} cannot read ${file}: chown ${user} ${file}`]
    : [
        `The service's user ${user} cannot read ${file}, since ${closed} is closed to it: move it to ${files}, and chown ${user} it.`,
      ];
}

function folderObstacle(account: Account, folder: string, { user }: Confinement): string[] {
  const make = `install -d -o ${user} -m 700 ${folder}`;
  if (!existsSync(folder)) return [`The service cannot make ${folder}: ${make}`];
  return obstacleFor(account, folder, 'write') === null ? [] : [`The service's user ${user} cannot write in ${folder}: ${make}`];
}

function isAnyIn(folders: readonly string[], file: string): boolean {
  return folders.some((folder) => isWithin(folder, file));
}

function inHidden(file: string): string {
  return `${file} is in a folder of which a service has one of its own: move it`;
}

/** Somebody with no rights of his own, for a user that is not there yet. */
const NOBODY: Account = { uid: -1, gids: [] };
