import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Program } from '../../test/support/process.ts';
import type { Owner } from '../../test/support/process.ts';
import { pathOf } from '../../test/support/programs.ts';
import { freePort } from '../../test/support/tcp.ts';
import { listening } from '../listening.ts';
import { bindAddress } from '../site.ts';
import type { Host } from '../site.ts';

/** What nginx serves: a few bytes from memory, and 10⁶ random ones from a file. */
export const SMALL = '/';
export const MEGABYTE = '/megabyte';

/** Starts an nginx of one worker and returns its port. It has `SMALL` and `MEGABYTE` and keeps connections alive for as long as the client does. */
export async function startNginx(owner: Owner, host: Host): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'qtunnel-bench-nginx-'));
  owner.teardown(() => rmSync(folder, { recursive: true, force: true }));
  // The worker runs as another user when the master is root.
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, 'tmp'));
  writeFileSync(join(folder, 'megabyte'), randomBytes(1_000_000));
  const port = await freePort();
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, configuration(folder, host, port));
  const nginx = new Program(pathOf('nginx'), ['-c', file, '-p', folder], { prefix: host.prefix });
  // A worker outlives a master that is killed; TERM takes both along.
  owner.teardown(() => nginx.kill('SIGTERM'));
  await listening(nginx, port);
  return port;
}

function configuration(folder: string, host: Host, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/tmp/${name};`);
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  return `daemon off; pid ${folder}/pid; error_log stderr; ${user} worker_processes 1; worker_rlimit_nofile 16384;
    events { worker_connections 8192; multi_accept on; }
    http {
      access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
      keepalive_requests 1000000000; keepalive_timeout 600; ${temporary.join(' ')}
      server {
        listen ${bindAddress(host)}:${port} backlog=4096;
        root ${folder};
        location = ${SMALL} { return 200 "ok\\n"; }
      }
    }`;
}
