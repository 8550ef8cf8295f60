import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './deadline.ts';
import { temporaryFolder } from './files.ts';
import { type Owner, type ProcessOptions, run, start } from './process.ts';
import { pathOf } from './programs.ts';
import { freePort } from './tcp.ts';

/** Where a service runs: a namespace's `prefix`, or nothing for here. */
export type Place = Pick<ProcessOptions, 'prefix'>;

/** An nginx that has `page` under /page; needs nginx and curl. Returns its port. */
export async function startNginx(t: Owner, page: Buffer, place: Place = {}): Promise<number> {
  const port = await freePort();
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'page'), page);
  mkdirSync(join(folder, 'tmp'));
  // The worker runs as another user when the master is root.
  chmodSync(folder, 0o755);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/tmp/${name};`);
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; pid ${folder}/pid; error_log stderr; ${user}
     events {}
     http { access_log off; ${temporary.join(' ')} server { listen 127.0.0.1:${port}; root ${folder}; } }`,
  );
  const nginx = start(t, pathOf('nginx'), ['-c', join(folder, 'nginx.conf'), '-p', folder], place);
  // A worker outlives a master that is killed; QUIT takes both along.
  t.teardown(() => nginx.kill('SIGQUIT'));
  const asked = () => run(t, 'curl', ['--silent', '--fail', '-o', '/dev/null', `http://127.0.0.1:${port}/page`], place);
  await eventually('nginx listens', () => asked().catch(() => false as const));
  return port;
}

/** An sshd of its own: a free port, its own host key, and one user key made for this test; needs sshd and ssh-keygen. `options` are for ssh and scp. */
export async function startSshd(
  t: Owner,
  place: Place = {},
): Promise<{ readonly port: number; readonly options: readonly string[]; readonly folder: string }> {
  const port = await freePort();
  const folder = temporaryFolder(t);
  for (const key of ['host', 'user']) await run(t, 'ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)]);
  writeFileSync(join(folder, 'authorized'), readFileSync(join(folder, 'user.pub')));
  for (const file of ['host', 'user', 'authorized']) chmodSync(join(folder, file), 0o600);
  // Debian's sshd wants this folder even when it is not the system's.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });

  const settings = [
    ['ListenAddress', `127.0.0.1:${port}`],
    ['HostKey', join(folder, 'host')],
    ['AuthorizedKeysFile', join(folder, 'authorized')],
    ['PidFile', 'none'],
    ['StrictModes', 'no'],
    ['UsePAM', 'no'],
    ['PasswordAuthentication', 'no'],
    ['PermitRootLogin', 'yes'],
    ['Subsystem', 'sftp internal-sftp'],
  ];
  const flags = ['-D', '-e', '-f', '/dev/null', ...settings.flatMap(([key, value]) => ['-o', `${key}=${value}`])];
  const sshd = start(t, pathOf('sshd'), flags, place);
  await sshd.line(/Server listening/);
  const settingsOfClient = [
    'BatchMode=yes',
    'LogLevel=ERROR',
    'StrictHostKeyChecking=no',
    `UserKnownHostsFile=${join(folder, 'known')}`,
  ];
  const options = ['-F', '/dev/null', '-i', join(folder, 'user'), ...settingsOfClient.flatMap((setting) => ['-o', setting])];
  return { port, options, folder };
}
