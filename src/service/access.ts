import { type Stats, statSync } from 'node:fs';
import path from 'node:path';
import { QtunnelError } from '../errors.ts';

/** Who wants to read: a user's number and those of his groups. */
export interface Account {
  readonly uid: number;
  readonly gids: readonly number[];
}

export type Need = 'read' | 'write';

/**
 * What keeps an account from a file or folder, by the modes of it and of the folders above it: a folder that is closed to it, or the path itself; null when nothing does.
 * Access lists beyond the modes are not looked at.
 * @throws QtunnelError `FILE_UNREADABLE` when there is no such file.
 */
export function obstacleFor({ uid, gids }: Account, file: string, need: Need): string | null {
  const may = (target: string, bit: number): boolean => {
    const stats = statOf(target, file);
    const shift = stats.uid === uid ? OWNER : gids.includes(stats.gid) ? GROUP : OTHERS;
    return uid === 0 || ((stats.mode >> shift) & bit) === bit;
  };
  const closed = foldersAbove(file).find((folder) => !may(folder, ENTER));
  if (closed !== undefined) return closed;
  return may(file, need === 'read' ? READ : WRITE | ENTER) ? null : file;
}

/** From the root down. */
function foldersAbove(file: string): string[] {
  const above = path.dirname(file);
  return above === file ? [] : [...foldersAbove(above), above];
}

function statOf(target: string, file: string): Stats {
  try {
    return statSync(target);
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new QtunnelError('FILE_UNREADABLE', `${file} cannot be read (${why}): check the path and its permissions.`, { cause });
  }
}

const OWNER = 6;
const GROUP = 3;
const OTHERS = 0;
const READ = 4;
const WRITE = 2;
const ENTER = 1;
