import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { temporaryFolder } from '../../support/files.ts';
import { type Owner, run, start } from '../../support/process.ts';
import { missing } from '../../support/programs.ts';
import type { Place } from '../../support/services.ts';
import { freePort } from '../../support/tcp.ts';

/** For a test's `skip` option: why there can be no PostgreSQL here, else false. */
export function missingPostgres(): string | false {
  if (programs() === null) return 'not installed: postgresql';
  if (isRoot() && ownerId() === null) return 'PostgreSQL does not run as root, and there is no user postgres';
  return isRoot() ? missing('runuser') : false;
}

export interface Postgres {
  readonly url: string;
  readonly port: number;
  /** Ends it at once and in order, as `pg_ctl stop -m fast` does. */
  readonly stop: () => Promise<unknown>;
  /** Starts it again with what it had, at the same port. */
  readonly restart: () => Promise<void>;
}

/** Starts a PostgreSQL of the test's own with an empty database. */
export async function startPostgres(t: Owner, place: Place = {}): Promise<Postgres> {
  const folder = temporaryFolder(t);
  const owner = ownerId();
  if (isRoot() && owner !== null) chownSync(folder, owner, owner);
  const prefix = isRoot() ? ['runuser', '-u', USER, '--'] : [];
  const data = join(folder, 'data');
  const port = await freePort();
  const program = (name: string) => join(programs()!, name);
  await run(t, program('initdb'), ['-D', data, '-A', 'trust', '-U', USER, '--no-sync', '-E', 'UTF8'], { prefix });
  const settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: folder, fsync: 'off', max_connections: 30 };
  const words = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  let stop: () => Promise<unknown> = () => Promise.resolve();
  const restart = async (): Promise<void> => {
    const server = start(t, program('postgres'), ['-D', data, ...words], { prefix: [...(place.prefix ?? []), ...prefix] });
    await server.line(/ready to accept connections/);
    const pid = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n', 1)[0]);
    let stopped: Promise<unknown> | null = null;
    stop = () => {
      // Not to runuser, which does not hand it on.
      if (stopped === null) process.kill(pid, 'SIGINT');
      return (stopped ??= server.end());
    };
  };
  await restart();
  t.teardown(() => stop());
  return { url: `postgres://${USER}@127.0.0.1:${port}/postgres`, port, stop: () => stop(), restart };
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function ownerId(): number | null {
  if (!isRoot()) return userInfo().uid;
  const { status, stdout } = spawnSync('id', ['-u', USER], { encoding: 'utf8' });
  return status === 0 ? Number(stdout) : null;
}

/** Where Debian has them, of the latest version. */
function programs(): string | null {
  const versions = existsSync(FOLDER)
    ? readdirSync(FOLDER).filter((version) => existsSync(join(FOLDER, version, 'bin', 'initdb')))
    : [];
  const latest = versions.toSorted((a, b) => Number(a) - Number(b)).at(-1);
  return latest === undefined ? null : join(FOLDER, latest, 'bin');
}

const USER = 'postgres';
const FOLDER = '/usr/lib/postgresql';
