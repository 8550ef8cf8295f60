import { spawnSync } from 'node:child_process';
import { QtunnelError } from '../errors.ts';
import type { Account } from './access.ts';
import type { Command } from './manager.ts';

/** Runs commands one after another. @param hint where to look when the last fails. @throws QtunnelError `SERVICE_FAILED` at the first that fails. */
export function tellAll(commands: readonly Command[], hint = ''): void {
  for (const [index, command] of commands.entries()) tell(command, index === commands.length - 1 ? hint : '');
}

/** @throws QtunnelError `SERVICE_FAILED` with what the program says. */
export function tell([program, ...args]: Command, hint = ''): void {
  const { code, stderr } = ask([program, ...args]);
  if (code === 0) return;
  const said = [stderr.trim(), hint].filter((text) => text !== '').join('; ');
  throw new QtunnelError('SERVICE_FAILED', `${program} ${args.join(' ')} failed: ${said}`);
}

/** What a program says; code is null when it could not be run, and stderr has why. */
export function ask([program, ...args]: Command): { code: number | null; stdout: string; stderr: string } {
  const { status: code, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  return error === undefined ? { code, stdout, stderr } : { code: null, stdout: '', stderr: error.message };
}

/** Null when there is no such user. */
export function accountOf(user: string): Account | null {
  const of = (flag: string): string => ask(['id', flag, user]).stdout.trim();
  const uid = of('-u');
  return uid === '' ? null : { uid: Number(uid), gids: of('-G').split(' ').map(Number) };
}
