import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program } from '../test/support/process.ts';
import type { Owner, ProcessOptions } from '../test/support/process.ts';
import { missing } from '../test/support/programs.ts';
import type { Contender, End, Stage, Target } from './contender.ts';
import type { Site } from './site.ts';

/** A contender whose ends are up. */
export interface Running extends Target {
  /** The processes that do its work, by the end that they belong to. */
  readonly pids: Readonly<Record<End, readonly number[]>>;
  readonly allPids: readonly number[];
}

/** Starts both ends in front of the backend; they are stopped, and their folder is removed, when the owner ends. */
export async function launch<T extends Target>(
  owner: Owner,
  contender: Contender<T>,
  site: Site,
  backendPort: number,
): Promise<T & Running> {
  const folder = mkdtempSync(join(tmpdir(), 'qtunnel-bench-'));
  owner.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const pids: Record<End, number[]> = { client: [], server: [] };
  const add = <P extends Program>(end: End, start: (options: ProcessOptions) => P): P => {
    const program = start({ prefix: site[end].prefix });
    owner.teardown(() => program.kill());
    pids[end].push(program.pid);
    return program;
  };
  const run: Stage['run'] = (end, command, args, more) =>
    add(end, (options) => new Program(command, args, { ...more, ...options }));
  const target = await contender.start({ site, backendPort, folder, owner, add, run });
  return { ...target, pids, allPids: [...pids.server, ...pids.client] };
}

/** Why the contender cannot run here and how to change that; null when it can. */
export function absenceOf({ needs, absence }: Contender): string | null {
  const absent = Object.entries(needs).filter(([program]) => missing(program) !== false);
  if (absent.length === 0) return absence?.() ?? null;
  const packages = [...new Set(absent.map(([, packageName]) => packageName))];
  return `not installed: ${absent.map(([program]) => program).join(', ')}; on Debian: apt-get install ${packages.join(' ')}`;
}
